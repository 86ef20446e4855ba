# SPDX-License-Identifier: Apache-2.0
"""What is shipped beside the code: the wheel, the image, units, samples."""

from __future__ import annotations

import configparser
import json
import pathlib
import re
import shlex
import subprocess
import sys
import zipfile
from importlib import metadata

import pytest
from packaging import requirements
from packaging.version import Version

from zaqar.tests.servers import process
from zaqar.tests.servers.zaqar import Zaqar

_TOP = pathlib.Path(__file__).parents[4]
_UNITS = sorted((_TOP / 'etc' / 'zaqar' / 'systemd').iterdir())


def _run(*command: str, cwd: pathlib.Path = _TOP) -> str:
    done = subprocess.run(
        command, cwd=cwd, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_wheel_holds_every_file_of_the_package(
    tmp_path: pathlib.Path,
) -> None:
    """Scripts of stores are files that no Python module imports."""
    if not (_TOP / '.git').exists():
        process.missing('this is no clone')
    clone = tmp_path / 'clone'
    _run('git', 'clone', '--quiet', str(_TOP), str(clone))
    pip = (sys.executable, '-m', 'pip', 'wheel', '--quiet', '--no-deps')
    _run(*pip, '--wheel-dir', str(tmp_path), str(clone))
    (wheel,) = tmp_path.glob('*.whl')
    with zipfile.ZipFile(wheel) as archive:
        held = set(archive.namelist())
    tracked = _run('git', 'ls-files', 'zaqar', cwd=clone).split()
    assert set(tracked) <= held


# The image.


def _last_stage() -> list[str]:
    """Return the instructions of the image that is shipped."""
    text = (_TOP / 'Containerfile').read_text().replace('\\\n', ' ')
    lines = [line for line in text.splitlines() if line.strip()]
    lines = [line for line in lines if not line.startswith('#')]
    begins = [n for n, line in enumerate(lines) if line.startswith('FROM ')]
    return lines[begins[-1] :]


def _instruction(name: str) -> str:
    (instruction,) = [
        line for line in _last_stage() if line.startswith(f'{name} ')
    ]
    return instruction.partition(' ')[2]


def test_the_image_runs_as_nobody_of_importance() -> None:
    user, _, group = _instruction('USER').partition(':')
    assert int(user) > 0
    assert int(group) > 0
    assert _last_stage()[-1] == 'ENTRYPOINT ["zaqar-server"]'


def test_the_image_gets_only_files_that_are_there() -> None:
    text = (_TOP / 'Containerfile').read_text()
    for line in re.findall(r'^COPY (?!--from)(.*)', text, re.M):
        *sources, _target = shlex.split(line)
        for source in sources:
            assert (_TOP / source).exists(), source


def test_the_image_is_healthy_while_the_api_answers(
    tmp_path: pathlib.Path,
) -> None:
    check = _instruction('HEALTHCHECK')
    _python, *words = json.loads(check[check.index('[') :])
    server = Zaqar(tmp_path, rest='[drivers]\ntransport = wsgi').start()
    assert '8888' in words[-1]
    words[-1] = words[-1].replace('8888', str(server.port))
    try:
        _run(sys.executable, *words)
    finally:
        server.stop()
    done = subprocess.run(
        [sys.executable, *words], capture_output=True, check=False
    )
    assert done.returncode == 1


def test_the_image_listens_where_it_can_be_reached(
    tmp_path: pathlib.Path,
) -> None:
    server = Zaqar(tmp_path, rest='[drivers]\ntransport = wsgi')
    more = _TOP / 'etc' / 'zaqar' / 'container.conf'
    running = process.Process(
        server.command('--config-file', str(more)), server.log
    )
    try:
        running.wait_until(server.answers)
        assert f'0.0.0.0:{server.port}' in server.log.read_text()
    finally:
        running.stop()


# Units.


def _unit(path: pathlib.Path) -> configparser.RawConfigParser:
    parser = configparser.RawConfigParser(strict=False)
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read(path)
    return parser


@pytest.mark.parametrize(
    'path',
    [path for path in _UNITS if path.suffix == '.service'],
    ids=lambda path: path.name,
)
def test_a_unit_runs_a_program_of_ours_as_nobody_of_importance(
    path: pathlib.Path,
) -> None:
    unit = _unit(path)
    service = unit['Service']
    # Lifetimes are of no use while the clock is wrong.
    assert 'time-sync.target' in unit['Unit']['After'].split()
    program = pathlib.Path(service['ExecStart'].split()[0]).name
    setup = configparser.RawConfigParser()
    setup.read(_TOP / 'setup.cfg')
    ours = setup['entry_points']['console_scripts']
    assert program == 'uwsgi' or f'{program} =' in ours
    # Where the guide installs them.
    guide = (_TOP / 'doc' / 'source' / 'install' / 'quick.rst').read_text()
    folder = pathlib.Path(service['ExecStart'].split()[0]).parent
    assert f'python3 -m venv {folder.parent}\n' in guide
    assert service['User'] == 'zaqar'
    assert service['CapabilityBoundingSet'] == ''
    assert service['SystemCallFilter'] == '@system-service'
    assert re.fullmatch('[1-9]G', service['MemoryMax'])
    assert service['StateDirectoryMode'] == '0700'
    # They may take a minute to finish what is under way.
    patience = int(service.get('TimeoutStopSec', '70'))
    assert patience > 60


def test_the_timer_has_its_service() -> None:
    names = {path.name for path in _UNITS}
    for name in names:
        if name.endswith('.timer'):
            assert name.replace('.timer', '.service') in names


def test_systemd_reads_the_units(tmp_path: pathlib.Path) -> None:
    """Spelling and sections, by systemd's own reader."""
    for path in _UNITS:
        # Programs are elsewhere here, and that would be complained of.
        text = re.sub(
            r'^ExecStart=\S+',
            'ExecStart=/bin/true',
            path.read_text(),
            flags=re.M,
        )
        (tmp_path / path.name).write_text(text)
    command = ['systemd-analyze', 'verify', '--man=no']
    try:
        done = subprocess.run(
            [*command, *map(str, sorted(tmp_path.iterdir()))],
            capture_output=True,
            text=True,
            check=False,
        )
    except FileNotFoundError:
        process.missing('systemd-analyze is not installed')
    assert str(tmp_path) not in done.stderr, done.stderr


def test_uwsgi_listens_for_a_proxy_on_this_machine_alone() -> None:
    text = (_TOP / 'etc' / 'zaqar' / 'uwsgi.ini').read_text()
    assert re.findall('^http-socket = (.*)$', text, re.M) == ['127.0.0.1:8888']


# Dependencies.


def test_what_is_installed_satisfies_the_lower_bounds() -> None:
    extras = configparser.ConfigParser()
    extras.read(_TOP / 'setup.cfg')
    lines = (_TOP / 'requirements.txt').read_text().splitlines()
    lines += extras['extras']['all'].splitlines()
    for line in lines:
        text = line.partition('#')[0].strip()
        if text:
            wanted = requirements.Requirement(text)
            version = metadata.version(wanted.name)
            assert wanted.specifier.contains(version), line


#: Releases in which published vulnerabilities were mended.
_MENDED = {
    'cryptography': '44.0.1',
    'pymongo': '4.6.3',
    'PyMySQL': '1.1.1',
    'requests': '2.32.4',
    'urllib3': '2.6.3',
    'WebOb': '1.8.8',
}


@pytest.mark.parametrize('name', _MENDED)
def test_a_lower_bound_is_past_published_vulnerabilities(name: str) -> None:
    extras = configparser.ConfigParser()
    extras.read(_TOP / 'setup.cfg')
    texts = [(_TOP / 'requirements.txt').read_text()]
    texts += extras['extras'].values()
    lines = re.findall(rf'^{name}\b.*', '\n'.join(texts), re.M)
    assert lines
    for line in lines:
        text, _, remark = line.partition('#')
        assert 'CVE-' in remark
        (bound,) = requirements.Requirement(text.strip()).specifier
        assert bound.operator == '>='
        assert Version(bound.version) >= Version(_MENDED[name])


def test_bounds_of_the_extras_are_those_of_all() -> None:
    extras = configparser.ConfigParser()
    extras.read(_TOP / 'setup.cfg')
    by_extra = {
        name: {*text.split('\n')} for name, text in extras['extras'].items()
    }
    drivers = set().union(
        *(by_extra[name] for name in by_extra if name not in ('all', 'bench'))
    )
    assert by_extra['all'] == drivers


def test_nobody_is_sent_to_another_product() -> None:
    """The name on PyPI is that of another implementation."""
    notes = [*(_TOP / 'releasenotes' / 'notes').glob('*.yaml')]
    names = [
        *notes,
        *(_TOP / 'doc').rglob('*.rst'),
        *(_TOP / 'api-ref').rglob('*.rst'),
        *(_TOP / 'examples').rglob('*'),
        *(_TOP / 'zaqar').rglob('*.py'),
        *_TOP.glob('*.rst'),
        *_TOP.glob('*/README.rst'),
    ]
    for path in names:
        if path.is_file() and 'tests' not in path.parts:
            text = path.read_text(errors='replace')
            assert not re.search(r'zaqar\[\w', text), path
            if path in notes:
                # Prose, one of them about that name.
                continue
            wrong = re.search(
                r'^\s.*pip install .*\bzaqar\b(?![/-])', text, re.M
            )
            assert wrong is None, (path, wrong)


# Logging.


def test_the_sample_of_logging_works(tmp_path: pathlib.Path) -> None:
    text = (_TOP / 'etc' / 'zaqar' / 'logging.conf.sample').read_text()
    log = tmp_path / 'server.log'
    assert '/var/log/zaqar/server.log' in text
    path = tmp_path / 'logging.conf'
    text = text.replace('/var/log/zaqar/server.log', str(log))
    # Containers have no syslog; a datagram to nobody does as well.
    path.write_text(text.replace("'/dev/log'", "('127.0.0.1', 514)"))
    server = Zaqar(tmp_path, rest='[drivers]\ntransport = wsgi')
    running = process.Process(
        server.command('--log-config-append', str(path)), server.log
    )
    try:
        running.wait_until(server.answers)
    finally:
        running.stop()
    assert 'INFO' in log.read_text()
