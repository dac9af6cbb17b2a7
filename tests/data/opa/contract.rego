# Repeats what the input says, so that one policy shows every form of an answer.
package anchore.admission

deny contains entry if some entry in input.say.deny

deny contains "one" if to_number(input.say.number) == 1

# So many pairs that it takes longer than any test waits.
deny contains "slow" if {
	input.say.slow
	some i in numbers.range(1, 100000)
	some j in numbers.range(1, 100000)
	i * j < 0
}

warn contains entry if some entry in input.say.warn

images := input.say.images

answer := 1 if input.say.conflict

answer := 2 if input.say.conflict
