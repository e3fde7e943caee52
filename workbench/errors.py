"""The one exception for wrong input, raised at the border and shown to the user as a single message."""


class InputError(ValueError):
    """Wrong input: a message naming the file, the field, the value and the remedy.

    The command line prints it without a traceback and exits with status 2.
    """
