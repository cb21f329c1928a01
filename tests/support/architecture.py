"""The structure of the source files: imports, names, sizes. `python tests/support/architecture.py` prints a summary."""

import ast
import functools
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGES = ("tfmodels", "export", "training", "benchmarks", "accelerators")
MOST_LINES, MOST_FUNCTION_LINES = 420, 60

# Where a folder of `tfmodels` may import from; a family is one more folder, see `allowed`.
GROUND = ("utils", "backend")
GROUND_FLOOR = ("layers", "generation", "checkpoints", "text")
TABLE = {
    "utils": ("utils",),
    "backend": ("backend",),
    **{name: (name, *GROUND) for name in GROUND_FLOOR},
    "modeling": ("modeling", *GROUND_FLOOR, *GROUND),
    "distribution": ("distribution", "modeling", "layers", *GROUND),
}


@functools.cache
def modules() -> dict[str, Path]:
    """Every source file by its module's name; a package stands for its `__init__`."""
    found = {}
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            parts = path.relative_to(ROOT).with_suffix("").parts
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


@functools.cache
def tree(module: str) -> ast.Module:
    return ast.parse(modules()[module].read_text(encoding="utf-8"))


@functools.cache
def imports(module: str) -> frozenset[str]:
    """The project's modules that a file imports: at its head, lazily in a function, or for type checkers alone."""
    found = set()
    for node in ast.walk(tree(module)):
        if isinstance(node, ast.Import):
            found |= {_known(alias.name) for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module}: relative import"
            found |= {_known(f"{node.module}.{alias.name}") for alias in node.names}
    return frozenset(found - {None, module})


def third_parties(module: str) -> set[str]:
    """The libraries that a file imports."""
    nodes = list(ast.walk(tree(module)))
    names = [alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names]
    names += [node.module for node in nodes if isinstance(node, ast.ImportFrom)]
    return {name.partition(".")[0] for name in names}


def _known(name: str) -> str | None:
    """The longest part of a dotted name that is a module of the project."""
    while name and name not in modules():
        name = name.rpartition(".")[0]
    return name or None


def families() -> tuple[str, ...]:
    """The families' folders: the packages with a `FAMILY`."""
    heads = [name for name in modules() if name.count(".") == 1 and modules()[name].name == "__init__.py"]
    return tuple(name.removeprefix("tfmodels.") for name in heads if _assigns(tree(name), "FAMILY"))


def _assigns(module: ast.Module, name: str) -> bool:
    targets = [target for node in module.body if isinstance(node, ast.Assign) for target in node.targets]
    return any(isinstance(target, ast.Name) and target.id == name for target in targets)


def forbidden_imports(module: str) -> list[str]:
    """The modules that a file imports and may not."""
    return [name for name in sorted(imports(module)) if not allowed(module, name)]


def allowed(module: str, imported: str) -> bool:
    """Whether the table lets a module import another."""
    source, target = module.split("."), imported.split(".")
    if source[0] == "tfmodels":
        return target[0] == "tfmodels" and _allowed_inside(source[1:], target[1:])
    if source[:2] == ["export", "client"]:
        return target[:2] == ["export", "client"]
    is_family = target[0] == "tfmodels" and target[1:2] and target[1] in families()
    if source[0] == "export":
        return target[0] in ("export", "tfmodels") and not is_family
    if source[0] == "training":
        is_demo = source[:2] == ["training", "demo"]
        return (
            target[0] in ("training", "export", "tfmodels")
            and not is_family
            and (is_demo or target[:2] != ["training", "demo"])
        )
    if source[0] == "accelerators":
        return target[0] in ("accelerators", "benchmarks", "tfmodels") and not is_family
    return target[0] != "accelerators" and not is_family  # benchmarks


def _allowed_inside(source: list[str], target: list[str]) -> bool:
    if not source:  # the public face, which imports on first use
        return True
    if not target:
        return False
    folder, other = source[0], target[0]
    if folder in TABLE:
        return other in TABLE[folder]
    if folder in families():
        own = (folder, "modeling", "layers", "text", *GROUND)
        return other in own or target == ["checkpoints", "mapping"]
    return other in (*families(), "modeling", *GROUND)  # auto


def circles() -> list[list[str]]:
    """Groups of files that import each other in a circle."""
    index, low, stack, found = {}, {}, [], []

    def visit(name: str) -> None:
        index[name] = low[name] = len(index)
        stack.append(name)
        for other in sorted(imports(name)):
            if other not in index:
                visit(other)
                low[name] = min(low[name], low[other])
            elif other in stack:
                low[name] = min(low[name], index[other])
        if low[name] == index[name]:
            group = stack[stack.index(name) :]
            del stack[stack.index(name) :]
            if len(group) > 1:
                found.append(group)

    # The public face names everything and imports it on first use.
    for name in modules():
        if name not in index:
            visit(name)
    return found


@functools.cache
def chain(module: str) -> tuple[str, ...]:
    """The longest chain of imports under a file, itself included."""
    below = [chain(name) for name in imports(module)]
    return (module, *max(below, key=len, default=()))


def loose_files() -> list[str]:
    """Modules of `tfmodels` that stand in no folder."""
    inside = {name: path for name, path in modules().items() if name.startswith("tfmodels.") and name.count(".") == 1}
    return [name for name, path in inside.items() if path.name != "__init__.py"]


def long_files() -> list[str]:
    counts = {name: path.read_text(encoding="utf-8").count("\n") for name, path in modules().items()}
    return [f"{name} ({count})" for name, count in counts.items() if count > MOST_LINES]


def long_functions() -> list[str]:
    return [
        f"{module}.{node.name}"
        for module in modules()
        for node in ast.walk(tree(module))
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
        and node.end_lineno - node.lineno >= MOST_FUNCTION_LINES
    ]


def code_names(module: str) -> Iterator[str]:
    """Identifiers and texts of a file, without comments and docstrings."""
    docstrings = {
        id(node.body[0].value)
        for node in ast.walk(tree(module))
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef))
        and node.body
        and isinstance(node.body[0], ast.Expr)
    }
    for node in ast.walk(tree(module)):
        if isinstance(node, ast.Name):
            yield node.id
        elif isinstance(node, ast.Attribute):
            yield node.attr
        elif isinstance(node, (ast.FunctionDef, ast.ClassDef, ast.alias)):
            yield node.name
        elif isinstance(node, ast.arg):
            yield node.arg
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docstrings:
            yield node.value


def private_attributes(module: str) -> set[str]:
    """Attributes with one underscore in front that a file reads or writes."""
    return {
        node.attr
        for node in ast.walk(tree(module))
        if isinstance(node, ast.Attribute) and node.attr.startswith("_") and not node.attr.startswith("__")
    }


def defined_names(module: str) -> set[str]:
    """Names that a file defines, on `self`, in a class or at its head."""
    found = set()
    for node in ast.walk(tree(module)):
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            found.add(node.name)
        elif isinstance(node, (ast.Name, ast.Attribute)) and isinstance(node.ctx, ast.Store):
            found.add(node.id if isinstance(node, ast.Name) else node.attr)
    return found


def private_methods(module: str) -> set[str]:
    """Methods with one underscore in front that the classes of a file define."""
    return {
        method.name
        for node in ast.walk(tree(module))
        if isinstance(node, ast.ClassDef)
        for method in node.body
        if isinstance(method, ast.FunctionDef) and method.name.startswith("_") and not method.name.startswith("__")
    }


def main() -> None:
    longest = chain("tfmodels.led.models")
    print(f"files: {len(modules())}, families: {', '.join(families())}")
    print(f"longest import chain under led/models.py: {len(longest)} files")
    print("  " + " > ".join(name.removeprefix("tfmodels.") for name in longest))
    print(f"loose files in tfmodels beside __init__: {len(loose_files())} ({', '.join(loose_files())})")
    print(f"circles: {len(circles())} {circles() or ''}")
    print(f"imports against the table: {sum(len(forbidden_imports(name)) for name in modules())}")
    print(f"files over {MOST_LINES} lines: {len(long_files())} {long_files() or ''}")
    print(f"functions over {MOST_FUNCTION_LINES} lines: {len(long_functions())} {long_functions() or ''}")


if __name__ == "__main__":
    main()
