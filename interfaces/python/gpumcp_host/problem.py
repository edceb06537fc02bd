"""Problem: what is wrong with an interface file, with the place to mend it."""


class Problem(Exception):
    def __init__(self, file, line, message):
        super().__init__(f"{file}:{line}: {message}")
