"""Arguments that Hydra's grammar can't read: the message shows them so that shell and Hydra read what was meant."""

import random
import shlex

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import OmegaConf

from hsi_al.cli.arguments import options_first, parsed_arguments, parsed_overrides, quoted
from hsi_al.cli.sweeps import check_sweep
from hsi_al.errors import ConfigurationError

NASTY = [
    *(
        "field (1).npy",
        "outputs/main/seed=0/cube.npy",
        "a,b",
        "a, b: c",
        "é",
        "日本/ü.npy",
        "~/x",
        "~nobody/x",
        "$HOME/x",
    ),
    *(
        "[x",
        "x]",
        "{a",
        "a}",
        "'",
        '"',
        "''",
        "it's",
        'say "a"',
        "\\",
        "a\\",
        'a\\"',
        "a\\'",
        "\\\\",
        "C:\\dir\\f (1).npy",
    ),
    *(
        "",
        " ",
        " a ",
        "#a",
        "a#b",
        "!",
        "a!b",
        "`id`",
        "$(id)",
        "a;b",
        "a&b",
        "a|b",
        "*",
        "?",
        "%",
        "=",
        "==",
        "@",
        "a\tb",
    ),
    *(
        "${seed}",
        "${",
        "}",
        "${oc.env:HOME}",
        "\\${seed}",
        "\\\\${x}",
        "a\\${",
        "$${a}",
        "${a}${b}",
        "null",
        "true",
        "1e3",
    ),
    *("range(1,3)", "choice(1,2)", "glob(*)", "int(x)", "???", "-", "--x", "a\nb"),
]


def meant(argument: str) -> object:
    """What a key gets from an argument as typed in a shell."""
    (words,) = shlex.split(argument)
    override = OverridesParser.create().parse_override(words)
    return OmegaConf.to_container(OmegaConf.create({"value": override.value()}), resolve=True)["value"]  # type: ignore[index,call-overload]


@pytest.mark.parametrize("value", NASTY)
def test_a_text_comes_back_through_shell_and_hydra(value: str) -> None:
    assert meant(shlex.quote(quoted("key", value))) == value


def test_any_text_comes_back() -> None:
    rng = random.Random(0)
    for _ in range(150):
        value = "".join(rng.choice(" a1.,:=()[{}\\\\\\\"'$#~é/") for _ in range(rng.randrange(1, 9)))
        if not (value.startswith("[") and value.endswith("]")):
            assert meant(shlex.quote(quoted("key", value))) == value


@pytest.mark.parametrize(
    ("value", "items"),
    [
        ("[Corn (till),Soy]", ["Corn (till)", "Soy"]),
        ("[Corn (till), Soy bean, é, 3]", ["Corn (till)", "Soy bean", "é", 3]),
        ("""["a (b)",'c=d',it's]""", ["a (b)", "c=d", "it's"]),
        ("[${x},$y]", ["${x}", "$y"]),
    ],
)
def test_a_list_stays_a_list(value: str, items: list[object]) -> None:
    assert meant(shlex.quote(quoted("key", value))) == items


def test_a_mapping_stays_a_mapping() -> None:
    value = '{3: wheat, 7: água, 40: "Forest, mixed", 41: Corn (till)}'
    assert meant(shlex.quote(quoted("key", value))) == {3: "wheat", 7: "água", 40: "Forest, mixed", 41: "Corn (till)"}
    assert meant(shlex.quote(quoted("key", "{no mapping}"))) == "{no mapping}"


@pytest.mark.parametrize("value", NASTY)
def test_what_cannot_be_read_is_said_with_what_can(value: str) -> None:
    argument = f"dataset.cube_file={value}"
    try:
        parsed_overrides(parsed_arguments([argument]))
    except ConfigurationError as error:
        shown = str(error)
        assert argument in shown
        assert shlex.quote(quoted("dataset.cube_file", value)) in shown


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (
            "dataset.cube_file=field (1).npy",
            """write 'dataset.cube_file="field (1).npy"'.""",
        ),
        ("dataset.class_names=[Corn (till),Soy]", """write 'dataset.class_names=["Corn (till)",Soy]'."""),
        ("just_a_word", "The argument just_a_word is no key=value"),
        ("a b=c", "The argument a b=c is no key=value"),
        (".=é", "The argument .=é is no key=value"),
        ("ü=1", "The argument ü=1 is no key=value"),
        ("seed=" + "9" * 6000, "is too long to be read"),
        ("seed=0,1", "seed=0,1 gives several values: add -m"),
        ("dataset=1", "There is no dataset '1'; choose one of botswana, chikusei, custom"),
        ("backbone=[1]", "There is no backbone '[1]'; choose one of densenet121"),
        ("protocol=1e300", "There is no protocol '1e+300'"),
        ("protocol.augment=7", "protocol.augment=7 is no boolean; write true or false."),
        ("learner.reconstruction=-1", "learner.reconstruction=-1 is no boolean"),
        ("trainer=null", "There is no trainer 'null'; choose one of default."),
        ("dataset.rgb_bands.x=1", "There is no key dataset.rgb_bands.x: dataset.rgb_bands holds a value"),
        ("=null", "The argument =null is no key=value"),
        ("hydra=1", "hydra=1 must be the name of an option"),
        ("hydra/job_logging=[[1]]", "hydra/job_logging=[[1]] must be the name of an option"),
        ("hydra.sweeper=0", "hydra.sweeper=0 can't be set; choose hydra/sweeper=<name>"),
        ("hydra.launcher._target_=os.system", "can't be set; choose hydra/launcher=<name>"),
        ("--nosuch", "Unrecognized arguments: --nosuch"),
        ("--config-dir", "--config-dir/-cd: expected one argument"),
        ("--experimental-rerun=x.pickle", "--experimental-rerun isn't supported"),
    ],
)
def test_arguments_that_cannot_work(arguments: str, says: str) -> None:
    with pytest.raises(ConfigurationError) as raised:
        parsed_overrides(parsed_arguments([arguments]))
    assert says in str(raised.value)


def test_options_may_stand_anywhere() -> None:
    argv = ["seed=0,1", "-m", "protocol=smoke", "--config-dir", "mine", "backbone=lenet"]
    given = parsed_arguments(argv)
    assert (given.multirun, given.config_dir) == (True, "mine")
    assert given.overrides == ["seed=0,1", "protocol=smoke", "backbone=lenet"]
    assert options_first(argv, given) == ["-m", "--config-dir", "mine", *given.overrides]


def test_arguments_that_work() -> None:
    for argument in (
        "seed=0",
        "~seed",
        "+new=1",
        "data_dir=null",
        "dataset={}",
        "debug=1",
        "learner.reconstruction=true",
        "protocol.epochs=7",
        "dataset=salinas",
        "backbone=[lenet]",
    ):
        (override,) = parsed_overrides(parsed_arguments([argument]))
        assert override.input_line == argument
    several = parsed_overrides(parsed_arguments(["--multirun", "seed=0,1", "backbone=lenet,resnet18"]))
    assert all(override.is_sweep_override() for override in several)


@pytest.mark.parametrize("argument", ["seed=range(1,1000000000000)", "seed=range(0,1,1e-9)", "seed=range(9,0,-1e-9)"])
def test_a_range_is_bounded(argument: str) -> None:
    with pytest.raises(ConfigurationError, match="gives more than 100000 jobs"):
        check_sweep(parsed_overrides(parsed_arguments(["-m", argument])))
    check_sweep(parsed_overrides(parsed_arguments(["-m", "seed=range(0,10)"])))


def test_a_group_takes_no_range() -> None:
    with pytest.raises(ConfigurationError, match="There is no experiment '1'; choose one of demo, few_labels, fig4"):
        check_sweep(parsed_overrides(parsed_arguments(["-m", "experiment=range(1,3)"])))
