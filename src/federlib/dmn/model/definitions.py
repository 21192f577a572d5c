"""The elements of a decision model as they are written: types, inputs, decisions, services.

A reference (`inputs`, `decisions`, `knowledge` and the members of a service) is the id or the
name of an element of the same model, or `namespace#id` for one of an imported model.

Source: DMN 1.5, clause 6 (requirements) and 7.3.3 (item definitions).
"""

from __future__ import annotations

from federlib.dmn.model.expressions import Expression, FunctionDefinition, ModelPart, Parameter

__all__ = [
    "DecisionNode",
    "DecisionService",
    "Definitions",
    "Import",
    "InputData",
    "ItemDefinition",
    "KnowledgeModel",
]


class ItemDefinition(ModelPart, frozen=True):
    """A type that a model defines (DMN 1.5, 7.3.3).

    Attributes:
        name: How the model calls it; for a component its key.
        type_ref: The type that it is, or restricts; empty where it has components.
        is_collection: Whether it is a list of that.
        components: The entries of a context.
        allowed: Unary tests that every value must pass, for a collection each element.
        constraint: Unary tests that the value as a whole must pass.
        parameters: Where it is a function: what it takes; None: it is none.
        result_type: Where it is a function: what it gives.
        id: Its id; may be empty.
        description: What it is for.
    """

    name: str
    type_ref: str = ""
    is_collection: bool = False
    components: tuple[ItemDefinition, ...] = ()
    allowed: str = ""
    constraint: str = ""
    parameters: tuple[Parameter, ...] | None = None
    result_type: str = ""
    id: str = ""
    description: str = ""


class Import(ModelPart, frozen=True):
    """Another model whose elements this one may refer to.

    Attributes:
        namespace: Of that model.
        name: How expressions here call it, as a prefix; empty: its names are used as they are.
        import_type: What it is, as a URI; empty: a decision model.
    """

    namespace: str
    name: str = ""
    import_type: str = ""


class InputData(ModelPart, frozen=True):
    """What a model is given.

    Attributes:
        name: How expressions call it.
        type_ref: Its type; empty: any.
        id: Its id; may be empty.
        description: What it is.
    """

    name: str
    type_ref: str = ""
    id: str = ""
    description: str = ""


class DecisionNode(ModelPart, frozen=True):
    """A decision of a model, with what it requires.

    Attributes:
        name: How it is called, and how expressions call its result.
        logic: How it is decided; None: not said, so it is null.
        type_ref: The type of the result; empty: any.
        inputs: References to the input data that it requires.
        decisions: References to the decisions that it requires.
        knowledge: References to the knowledge models and services that it calls.
        id: Its id; may be empty.
        description: What it is.
        question: The question that it answers.
        allowed_answers: What may be answered, for people.
    """

    name: str
    logic: Expression | None = None
    type_ref: str = ""
    inputs: tuple[str, ...] = ()
    decisions: tuple[str, ...] = ()
    knowledge: tuple[str, ...] = ()
    id: str = ""
    description: str = ""
    question: str = ""
    allowed_answers: str = ""


class KnowledgeModel(ModelPart, frozen=True):
    """A business knowledge model: a function with a name.

    Attributes:
        name: How expressions call it.
        function: What it is; None: not said, so it is null.
        type_ref: Its type; empty: any.
        knowledge: References to the knowledge models and services that it calls.
        id: Its id; may be empty.
        description: What it is.
    """

    name: str
    function: FunctionDefinition | None = None
    type_ref: str = ""
    knowledge: tuple[str, ...] = ()
    id: str = ""
    description: str = ""


class DecisionService(ModelPart, frozen=True):
    """Decisions that are called as one function (DMN 1.5, 10.4).

    Its parameters are its input data and then its input decisions, in their order.

    Attributes:
        name: How expressions call it.
        outputs: References to the decisions that are its result.
        encapsulated: References to the decisions that it decides itself beside them.
        input_decisions: References to the decisions that the caller decides.
        inputs: References to the input data that the caller gives.
        type_ref: Its type; empty: any.
        id: Its id; may be empty.
        description: What it is.
    """

    name: str
    outputs: tuple[str, ...]
    encapsulated: tuple[str, ...] = ()
    input_decisions: tuple[str, ...] = ()
    inputs: tuple[str, ...] = ()
    type_ref: str = ""
    id: str = ""
    description: str = ""


class Definitions(ModelPart, frozen=True):
    """A decision model.

    Attributes:
        name: How people call it.
        namespace: A URI of its own, by which others import it; empty: nobody does.
        id: Its id; may be empty.
        version: Which one, for people; the content hash tells versions apart.
        description: What it is for.
        imports: The models that it refers to.
        item_definitions: The types that it defines.
        inputs: What it is given.
        decisions: What it decides.
        knowledge_models: Its functions.
        services: Its decision services.
    """

    name: str
    namespace: str = ""
    id: str = ""
    version: str = ""
    description: str = ""
    imports: tuple[Import, ...] = ()
    item_definitions: tuple[ItemDefinition, ...] = ()
    inputs: tuple[InputData, ...] = ()
    decisions: tuple[DecisionNode, ...] = ()
    knowledge_models: tuple[KnowledgeModel, ...] = ()
    services: tuple[DecisionService, ...] = ()
