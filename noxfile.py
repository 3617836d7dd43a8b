import nox

nox.options.default_venv_backend = "virtualenv"
nox.options.reuse_existing_virtualenvs = True
nox.options.sessions = ["theory", "properties", "tests", "lint"]


def install(session: nox.Session, *extras: str) -> None:
    """Install the package with extras, held to the tested versions."""
    session.install("-c", "constraints.txt", "-e", f".[{','.join(extras)}]")


@nox.session
def theory(session: nox.Session) -> None:
    """Derive every theorem and compare it with the implementation."""
    install(session, "test")
    session.run("pytest", "-n", "auto", "theory/", *session.posargs)


@nox.session
def properties(session: nox.Session) -> None:
    """Attack the implementation with Hypothesis."""
    install(session, "test")
    session.run("pytest", "-n", "auto", "properties/", *session.posargs)


@nox.session
def mutants(session: nox.Session) -> None:
    """Make known mistakes wherever one would publish a falsehood, and demand that the tests notice."""
    install(session, "test")
    session.run("python", "-m", "properties.mutants.run", *session.posargs)


@nox.session
def mutation(session: nox.Session) -> None:
    """Mutate the core with mutmut and demand a score of 95 % (about an hour)."""
    install(session, "test", "mutation")
    session.run("python", "-m", "properties.mutants.general", *session.posargs)


@nox.session
def claims(session: nox.Session) -> None:
    """Compute the verdict of every claim; write the ledger, the report and the tables of claims."""
    install(session, "test")
    session.run("python", "-m", "claims.report", *session.posargs)


@nox.session
def bench(session: nox.Session) -> None:
    """Time this project against what a user would pick instead; `nox -t peers` once before."""
    install(session, "test")
    session.run("python", "benchmarks/run.py", *session.posargs)


@nox.session(name="peers-d3rlpy", tags=["peers"])
def peers_d3rlpy(session: nox.Session) -> None:
    """Install d3rlpy for the benchmarks and for experiments/verify_small_data.py."""
    session.install("-c", "constraints.txt", "d3rlpy==2.8.0")


@nox.session(name="peers-jax", tags=["peers"])
def peers_jax(session: nox.Session) -> None:
    """Install jax for the benchmarks."""
    session.install("jax==0.10.2")


@nox.session(name="peers-neural-tangents", tags=["peers"])
def peers_neural_tangents(session: nox.Session) -> None:
    """Install neural-tangents for the benchmarks: its last release needs a jax of its time."""
    old = ("numpy<2", "scipy<1.12", "tensorflow<2.17", "tf2jax==0.3.5", "jax==0.4.20", "jaxlib==0.4.20")
    session.install("neural-tangents==0.6.5", *old)


@nox.session(name="jax")
def readings_of_jax(session: nox.Session) -> None:
    """Read a critic of jax from its gradients."""
    install(session, "test")
    session.install("jax==0.10.2")
    session.run("pytest", "reference/tests/test_read_jax.py", *session.posargs)


def read_critics_of(session: nox.Session, library: str, *packages: str, watched: bool = False) -> None:
    """Read the critics that a library makes, and watch its training, beside the package in one environment."""
    install(session, "test")
    session.install("-c", "constraints.txt", *packages)
    tests = [f"reference/tests/libraries/test_{library}.py", *([f"integrations/test_{library}.py"] if watched else [])]
    session.run("pytest", *(session.posargs or tests))


@nox.session(name="kernels-d3rlpy", tags=["libraries", "integrations"])
def kernels_d3rlpy(session: nox.Session) -> None:
    """Hold the kernel of d3rlpy's critics against autograd row by row, and watch its training."""
    read_critics_of(session, "d3rlpy", "d3rlpy==2.8.0", watched=True)


@nox.session(name="kernels-stable-baselines3", tags=["libraries", "integrations"])
def kernels_stable_baselines3(session: nox.Session) -> None:
    """Hold the kernel of stable-baselines3's critics against autograd row by row, and watch its training."""
    read_critics_of(session, "stable_baselines3", "stable-baselines3==2.9.2", watched=True)


@nox.session(name="kernels-torchrl", tags=["libraries"])
def kernels_torchrl(session: nox.Session) -> None:
    """Hold the kernel of TorchRL's critics against autograd row by row."""
    read_critics_of(session, "torchrl", "torchrl==0.14.1", "tensordict==0.14.3")


@nox.session(name="kernels-tianshou", tags=["libraries"])
def kernels_tianshou(session: nox.Session) -> None:
    """Hold the kernel of Tianshou's critics against autograd row by row."""
    read_critics_of(session, "tianshou", "tianshou==2.0.1")


@nox.session
def tests(session: nox.Session) -> None:
    """Run everything that the README's test command runs."""
    install(session, "test")
    session.run("pytest", "-n", "auto", *session.posargs)


@nox.session
def slurm(session: nox.Session) -> None:
    """Submit a sweep to a Slurm of one node; `apt-get install slurm-wlm munge` once before."""
    install(session, "test")
    session.run("pytest", "-m", "slurm", "experiments/tests/test_slurm.py", *session.posargs)


@nox.session
def lint(session: nox.Session) -> None:
    """Check style and types."""
    install(session, "test", "lint")
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")
    session.run("pyright")


@nox.session
def docs(session: nox.Session) -> None:
    """Build the documentation, warnings as errors."""
    install(session, "docs")
    session.run("sphinx-build", "-W", "--keep-going", "-b", "html", "docs", "docs/_build/html", *session.posargs)
    session.log("the first page is docs/_build/html/index.html")


@nox.session
def readme(session: nox.Session) -> None:
    """Run both commands of the README, word for word, in a fresh clone."""
    session.install("-c", "constraints.txt", "pytest")
    session.run("pytest", "-s", "-m", "readme", "readme_test.py", *session.posargs)
