class Model:
    def __init__(self, arguments, beside):
        self.arguments, self.beside = arguments, beside

    @classmethod
    def create_from_arg_obj(cls, arguments, beside):
        if "refused" in str(arguments.get("pretrained")):
            raise RuntimeError("this model cannot be opened")
        return cls(arguments, beside)


def get_model(name):
    return Model
