"""What a person is asked, where there is one."""

import sys


def is_there_a_person() -> bool:
    """Whether questions can be asked and answered."""
    return sys.stdin.isatty() and sys.stdout.isatty()


def confirmed(question: str, otherwise: bool = True) -> bool:
    """The answer to a question of yes or no. otherwise: the answer of a person who presses Enter, and of nobody."""
    import questionary

    if not is_there_a_person():
        return otherwise
    return bool(questionary.confirm(question, default=otherwise).unsafe_ask())
