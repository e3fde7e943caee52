"""`tests/mutation.py` finds the modules that it names, and each of its mutants is another program."""

import ast
from pathlib import Path

import mutation

SOURCE = """
def f(x: int = 3) -> bool:
    \"\"\"Adds.\"\"\"
    if not x:
        raise ValueError("no" + "thing")
    return x + 1 < max(x, 2)
"""


def test_the_modules_are_there_and_each_has_mutants_and_tests() -> None:
    for target in mutation.TARGETS:
        assert (mutation.ROOT / "workbench" / target).exists(), target
    for file, source in mutation._files("one_pass"):
        assert len(list(mutation.mutants_of(file, source))) > 20
        assert mutation.tests_of(file)[0].stem == "test_one_pass"


def test_a_mutant_changes_one_place_that_decides_something() -> None:
    mutants = list(mutation.mutants_of(Path("x.py"), SOURCE))
    changes = {mutant.text for mutant in mutants}
    assert len(changes) == len(mutants) and ast.unparse(ast.parse(SOURCE)) not in changes
    # The default, the negation, the sum, the number in it, the comparison, the name of the larger, and its number.
    assert len(mutants) == 7
    assert all("'no' + 'thing'" in mutant.text and "Adds." in mutant.text for mutant in mutants)
