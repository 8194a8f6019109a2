"""For people: one module a verb. Imports what a verb needs when it is called."""
