# A package without a value: a function is none.
package shapes.empty

is_one(number) := number == 1
