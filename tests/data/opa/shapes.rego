# A package that decides nothing: its only rule is one that the controller does not read.
package shapes.allowing

allow := true
