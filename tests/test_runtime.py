# Copyright (c) 2026 PaddlePaddle Authors. All Rights Reserved.
#
# Licensed under the Apache License, Version 2.0 (the "License");
# you may not use this file except in compliance with the License.
# You may obtain a copy of the License at
#
#     http://www.apache.org/licenses/LICENSE-2.0
#
# Unless required by applicable law or agreed to in writing, software
# distributed under the License is distributed on an "AS IS" BASIS,
# WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied.
# See the License for the specific language governing permissions and
# limitations under the License.
"""The traps of the libraries, each met in a process of its own."""

import os
import subprocess
import sys

import pytest
from act import runtime, versions
from act.errors import UserError
from act.plan import cpu_passes
from conftest import PROJECT


def python(code):
    """Run code with the project on its path; returns what subprocess does."""
    return subprocess.run([sys.executable, '-c', code],
                          env=dict(os.environ, PYTHONPATH=PROJECT),
                          stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE,
                          universal_newlines=True)


def test_zlib_works_after_paddle():
    # Without prepare() this process ends in a segmentation fault or a
    # zlib.error: libpaddle exports a zlib of its own.
    done = python('from act import runtime; runtime.import_paddle(); '
                  'import zlib; zlib.decompress(zlib.compress(b"x" * 9999)); '
                  'import scipy.optimize, pycocotools.coco; print("fine")')
    assert done.stdout.strip() == 'fine', done.stderr


def test_ppdet_imports_without_noise_and_still_logs():
    done = python('from act import runtime; ppdet = runtime.import_ppdet(); '
                  'import logging; '
                  'logging.getLogger("ppdet.engine").info("heard")')
    assert done.returncode == 0, done.stderr
    assert 'numba' not in done.stdout
    assert 'heard' in done.stdout


def test_native_output_is_caught_and_comes_back(capfd):
    with runtime.captured_output() as sink:
        os.write(1, b'hidden')
    sink_closed = sink.closed
    os.write(1, b'shown')
    assert capfd.readouterr().out == 'shown'
    assert sink_closed


def pretend(monkeypatch, **packages):
    """These packages are installed, and no others."""
    monkeypatch.setattr(runtime, 'version', lambda name: packages.get(name, ''))


def test_another_paddle_is_refused(monkeypatch):
    monkeypatch.setattr(runtime, '_prepared', False)
    pretend(monkeypatch, paddlepaddle='9.9.9')
    with pytest.raises(UserError, match='2.6.2 is needed, found 9.9.9'):
        runtime.prepare()
    pretend(monkeypatch)
    with pytest.raises(UserError, match='2.6.2 is needed, found none'):
        runtime.prepare()


def test_paddle_3_runs_models_on_the_cpu_only(monkeypatch):
    runtime.need_whole('it')
    pretend(monkeypatch, paddlepaddle='3.3.1')
    assert runtime.installed().version == '3.3.1'
    with pytest.raises(UserError, match='it needs paddlepaddle 2.6.2, found'):
        runtime.need_whole('it')
    pretend(monkeypatch, **{'paddlepaddle-gpu': '3.3.1'})
    with pytest.raises(UserError, match='2.6.2 is needed, found 3.3.1'):
        runtime.installed()


def test_passes_that_were_renamed():
    """The table's keys are passes of 2.6.2; tests/paddle3 tells what has become
    of them."""
    known = cpu_passes()
    assert runtime.installed().passes == {}
    for row in versions.TABLE.values():
        assert set(row.passes) <= known
        assert row.pass_name('fc_fuse_pass') == 'fc_fuse_pass'


def test_a_directory_without_ppdet_is_refused(tmp_path):
    done = python('from act import cli, runtime; import sys; '
                  'sys.exit(cli.run(lambda: runtime.use_ppdet(%r)))' %
                  str(tmp_path))
    assert done.returncode == 2
    assert 'holds no ppdet package' in done.stderr


def test_a_checkout_comes_first(tmp_path):
    (tmp_path / 'ppdet').mkdir()
    (tmp_path / 'ppdet' / '__init__.py').write_text('MINE = 1')
    done = python('from act import runtime; runtime.use_ppdet(%r); '
                  'import ppdet; print(ppdet.MINE)' % str(tmp_path))
    assert done.stdout.strip() == '1', done.stderr


def test_environment_names_the_machine():
    found = runtime.environment()
    assert found['paddle'] == runtime.PADDLE
    assert found['cpu'] and found['cpu_count'] >= 1
    assert set(found['cpu_extensions']) <= {
        'avx2', 'avx512f', 'avx512_vnni', 'avx_vnni', 'avx512_bf16', 'amx_int8',
        'amx_bf16'
    }


@pytest.mark.parametrize('name, value, allowed', [
    ('ONEDNN_MAX_CPU_ISA', 'AVX2', {'avx2'}),
    ('DNNL_MAX_CPU_ISA', 'avx2', {'avx2'}),
    ('ONEDNN_MAX_CPU_ISA', 'AVX512_CORE', {'avx2', 'avx512f'}),
    ('ONEDNN_MAX_CPU_ISA', 'AVX512_CORE_VNNI',
     {'avx2', 'avx512f', 'avx512_vnni'}),
    ('ONEDNN_MAX_CPU_ISA', 'SSE41', set()),
])
def test_extensions_within_onednns_limit(monkeypatch, name, value, allowed):
    everything = set(runtime.cpu_extensions())
    monkeypatch.setenv(name, value)
    assert set(runtime.cpu_extensions()) == everything & allowed
    monkeypatch.setenv(name, 'ALL')
    assert set(runtime.cpu_extensions()) == everything
