class RemoteTokenizer:
    pass


def make_table(found, column="results"):
    return "\n".join(f"|{task}|{name}|{value}|" for task, numbers in found[column].items() for name, value in numbers.items())
