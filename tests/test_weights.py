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
"""Weights: reading .pdparams without trusting them, and fetching them."""

import base64
import collections
import hashlib
import http.server
import io
import os
import pickle
import signal
import struct
import subprocess
import tarfile
import threading
import time
import zipfile

import numpy as np
import pytest
from act import pdparams, runtime, weights
from act.errors import UserError
from conftest import run_script

paddle = runtime.import_paddle()
PROTOCOLS = (2, 3, 4)
NAME = 'model.pdparams'


def network():
    paddle.seed(3)
    return paddle.nn.Sequential(paddle.nn.Conv2D(3, 4, 3),
                                paddle.nn.BatchNorm2D(4))


def layer():
    return network().state_dict()


def optimizer():
    net = network()
    rate = paddle.optimizer.lr.CosineAnnealingDecay(0.1, 5)
    made = paddle.optimizer.Adam(rate, parameters=net.parameters())
    net(paddle.ones([1, 3, 8, 8])).sum().backward()
    made.step()
    rate.step()
    return made.state_dict()


def checkpoint():
    """As ppdet's and others' training leaves them, EMA beside the model."""
    return {
        'model': layer(),
        'ema': collections.OrderedDict(layer()),
        'ema_state': {
            'step': 12,
            'decay': 0.9998,
            'names': ['a', ('b', 2)],
            'on': True,
            'none': None
        },
        'best': np.float32(0.5),
        'rates': [0.1, -3, 2**70],
    }


def arrays():
    """A bare dict of arrays of each kind."""
    made = {
        code: np.arange(6).reshape(2, 3).astype(code)
        for code in pdparams.NUMBERS
    }
    made.update({
        'fortran':
        np.asfortranarray(np.random.RandomState(0).rand(3, 5)),
        'big_endian':
        np.arange(4, dtype='>f4'),
        'zero_d':
        np.array(3.5),
        'empty':
        np.zeros((0, 4), np.float32),
        'bfloat16':
        paddle.to_tensor([1.5, -2.0]).astype('bfloat16'),
    })
    return made


def assert_same(found, wanted):
    """Equal in structure, types and values."""
    if isinstance(wanted, paddle.Tensor):
        wanted = np.asarray(wanted)
    assert type(found) is type(wanted)
    if isinstance(wanted, dict):
        assert list(found) == list(wanted)
        for key in wanted:
            assert_same(found[key], wanted[key])
    elif isinstance(wanted, (list, tuple)):
        assert len(found) == len(wanted)
        for one, other in zip(found, wanted):
            assert_same(one, other)
    elif isinstance(wanted, np.ndarray):
        assert found.shape == wanted.shape
        assert found.dtype == wanted.dtype.newbyteorder('=')
        np.testing.assert_array_equal(found, wanted)
    else:
        assert found == wanted


@pytest.mark.parametrize('make', (layer, optimizer, checkpoint, arrays))
@pytest.mark.parametrize('protocol', PROTOCOLS)
def test_reads_what_paddle_reads(tmp_path, make, protocol):
    path = str(tmp_path / NAME)
    paddle.save(make(), path, protocol=protocol)
    found = pdparams.read(path)
    assert len(found) >= 5
    assert_same(found, paddle.load(path, return_numpy=True))


@pytest.mark.parametrize('protocol', PROTOCOLS)
def test_slices_of_a_large_array_are_joined(tmp_path, protocol):
    whole = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
    path = tmp_path / NAME
    path.write_bytes(
        pickle.dumps(
            {
                'w@@.0': whole.ravel()[:15],
                'w@@.1': whole.ravel()[15:],
                'b': np.ones(2, np.float32),
                'UnpackBigParamInfor@@': {
                    'w': {
                        'OriginShape': whole.shape,
                        'slices': ['w@@.0', 'w@@.1']
                    }
                },
                'StructuredToParameterName@@': {
                    'w': 'linear_0.w_0',
                    'b': 'linear_0.b_0'
                },
            }, protocol))
    found = pdparams.read(str(path))
    np.testing.assert_array_equal(found['w'], whole)
    assert_same(found, paddle.load(str(path), return_numpy=True))


def test_files_of_python_2(tmp_path):
    content = np.array([1.5, -2], '<f4').tobytes()
    path = tmp_path / NAME
    path.write_bytes(
        b'\x80\x02}U\x01wcnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray'
        b'\nK\x00\x85U\x01b\x87R(K\x01K\x02\x85cnumpy\ndtype\nU\x02f4K\x00K\x01'
        b'\x87R(K\x03U\x01<NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89U' +
        bytes([len(content)]) + content + b'tbs.')
    found = pdparams.read(str(path))
    assert found['w'].tolist() == [1.5, -2]
    assert_same(found, paddle.load(str(path), return_numpy=True))


class Call:
    """Pickled, it is a call."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


def hostile(marker):
    """{what the error names: content}; each but the last makes the marker if
    Python's own unpickler reads it."""
    touch = 'touch %s' % marker
    system = Call(os.system, touch)
    array = np.empty(1, object)
    array[0] = system
    good = np.ones(2, np.float32)
    return {
        'posix.system': {
            'w': system
        },
        'builtins.eval': {
            'w': good,
            'x': Call(eval, '__import__("os").system("%s")' % touch)
        },
        'builtins.exec': [good, Call(exec, 'open(%r, "w")' % marker)],
        'subprocess.check_call':
        collections.OrderedDict(
            a={'b': [Call(subprocess.check_call, ['touch', marker])]}),
        'an array of numpy type': {
            'w': array
        },
        'io.open': {
            'w': (good, Call(io.open, marker, 'w'))
        },
        # Decoded bytes, which a later part of the file could call.
        "_codecs.encode with 'rot_13'": {
            'w': Call(__import__('_codecs').encode, 'posix', 'rot_13')
        },
    }


@pytest.mark.parametrize('name', hostile(''))
@pytest.mark.parametrize('protocol', PROTOCOLS)
def test_hostile_files_are_refused_by_name(tmp_path, name, protocol):
    marker = tmp_path / 'marker'
    content = pickle.dumps(hostile(str(marker))[name], protocol)
    if not name.startswith('_codecs'):
        # It is what it says it is.
        pickle.loads(content)
        assert marker.exists()
        marker.unlink()
    path = tmp_path / NAME
    path.write_bytes(content)
    with pytest.raises(UserError) as error:
        pdparams.read(str(path))
    said = str(error.value)
    assert name in said and 'which weights never need' in said
    assert str(path) in said and '\n' not in said
    assert not marker.exists()


def array_of(dtype_state=(3, '<', None, None, None, -1, -1, 0),
             code='f4',
             shape=(2, ),
             content=b'\0' * 8,
             kind=np.ndarray):
    """A pickled array, told what one likes."""
    multiarray = np.core.multiarray

    class Told:

        def __init__(self, call, state=None):
            self.call = call + ((state, ) if state is not None else ())

        def __reduce__(self):
            return self.call

    dtype = Told((np.dtype, (code, False, True)), dtype_state)
    return pickle.dumps(
        {
            'w':
            Told((multiarray._reconstruct, (kind, (0, ), b'b')),
                 (1, shape, dtype, False, content))
        }, 4)


@pytest.mark.parametrize('content, said', (
    (b'\x80\x02}U\x01wcposix\nsystem\n(dR.', 'posix.system'),
    (b'\x80\x02cnumpy\nndarray.tofile\n.', 'numpy.ndarray.tofile'),
    (b'\x80\x04\x8c\x05numpy\x8c\x04load\x93.', 'numpy.load'),
    (b'cposix\nsystem\n(dR.', 'posix.system'),
    (b'(ios\nsystem\n.', 'os.system'),
    (b'\x80\x02(U\x07touch xios\nsystem\n.', 'os.system'),
    (b'\x80\x02U\x01xQ.', 'operation BINPERSID'),
    (b'\x80\x02\x82\x01.', 'operation EXT1'),
    (b'\x80\x04\x8c\x01x)\x81.', 'operation NEWOBJ'),
    (b'\x80\x02}}U\x01aK\x01sb.', 'a state for dict'),
    (b'\x80\x02c\x1b[31mred\nx\n.', '?[31mred.x'),
    (b'\x80\x05\x96\x01\0\0\0\0\0\0\0x.', 'operation BYTEARRAY8'),
    (array_of(code='O'), "an array of numpy type 'O'"),
    (array_of(code='V8'), "an array of numpy type 'V8'"),
    (array_of(code='S4'), "an array of numpy type 'S4'"),
    (array_of((3, '|', ('f4', (2, )), None, None, 8, 1, 0)), 'structured'),
    (array_of((3, '|', None, ('a', ), {
        'a': 1
    }, 8, 1, 0)), 'structured'),
))
def test_what_else_is_refused(tmp_path, content, said):
    path = tmp_path / NAME
    path.write_bytes(content)
    with pytest.raises(UserError) as error:
        pdparams.read(str(path))
    assert said in str(error.value)
    assert 'which weights never need' in str(error.value)


DAMAGED = 'is cut off or damaged'


def laughs():
    """Lists in lists, each ten times in the next one: 10**15 when copied."""
    value = [1]
    for _ in range(15):
        value = [value] * 10
    return pickle.dumps({'w': value}, 4)


def knot():
    value = {}
    value['w'] = [value]
    return pickle.dumps(value, 4)


@pytest.mark.parametrize(
    'content, said',
    (
        (b'', 'is empty'),
        (b'<!DOCTYPE html><html></html>', 'is a web page'),
        (b'\n <html>', 'is a web page'),
        (b'weights\n', 'is no file of paddle.save'),
        (b"S'text'\n.", 'is no file of paddle.save'),
        (b'\x80\x02K\x05.', 'holds a int'),
        (b'\x80\x02].', 'holds a list'),
        (b'\x80\x09}.', DAMAGED),
        (b'\x80\x02}', DAMAGED),
        (b'\x80\x02\xff.', DAMAGED),
        (b'\x80\x02R.', DAMAGED),
        (b'\x80\x02}K\x01R.', DAMAGED),
        (b'\x80\x02h\x07.', DAMAGED),
        # Indices of the memo and lengths beyond all memory, and below zero.
        (b'\x80\x02}r\xff\xff\xff\xff', DAMAGED),
        (b'\x80\x04\x8e' + struct.pack('<Q', 2**62), DAMAGED),
        (b'\x80\x04\x8e' + struct.pack('<Q', 2**64 - 1), DAMAGED),
        (b'\x80\x04\x8d' + struct.pack('<Q', 2**40), DAMAGED),
        (b'\x80\x04\x95' + struct.pack('<Q', 2**62), DAMAGED),
        (b'\x80\x04B' + struct.pack('<I', 2**32 - 1), DAMAGED),
        (b'\x80\x02\x8b' + struct.pack('<i', -5), DAMAGED),
        (b'\x80\x02\x8b' + struct.pack('<i', 2**31 - 1), DAMAGED),
        (b'\x80\x02T' + struct.pack('<i', -1), DAMAGED),
        (array_of(shape=(2**40, 2**40)), DAMAGED),
        (array_of(shape=(-2, )), DAMAGED),
        (array_of(shape=(1, ) * 70, content=b'\0' * 4), DAMAGED),
        (array_of(shape=(3, )), DAMAGED),
        (array_of(kind=collections.OrderedDict), DAMAGED),
        (array_of(('x', )), DAMAGED),
        (pickle.dumps({'UnpackBigParamInfor@@': {
            'w': {}
        }}, 4), DAMAGED),
        (pickle.dumps(
            {
                'a': np.ones(2),
                'UnpackBigParamInfor@@': {
                    'w': {
                        'slices': ['a'] * 9,
                        'OriginShape': (18, )
                    }
                }
            }, 4), DAMAGED),
        (knot(), DAMAGED),
        (b'\x80\x02' + b']' * 3000 + b'a' * 2999 + b'.', DAMAGED),
    ))
def test_damaged_files(tmp_path, content, said):
    path = tmp_path / NAME
    path.write_bytes(content)
    with pytest.raises(UserError) as error:
        pdparams.read(str(path))
    assert said in str(error.value) and str(path) in str(error.value)


def test_what_is_shared_is_read_once(tmp_path):
    path = tmp_path / NAME
    path.write_bytes(laughs())
    begin = time.perf_counter()
    assert len(pdparams.read(str(path))['w']) == 10
    assert time.perf_counter() - begin < 5


def test_archives_directories_and_no_file(tmp_path):
    path = tmp_path / NAME
    with zipfile.ZipFile(str(path), 'w') as f:
        f.writestr('x', 'y')
    with pytest.raises(UserError, match='is a zip archive; fetch it again'):
        pdparams.read(str(path))
    for mode in ('w', 'w:gz'):
        with tarfile.open(str(path), mode) as f:
            f.add(__file__, 'x')
        with pytest.raises(UserError, match='is a tar archive'):
            pdparams.read(str(path))
    with pytest.raises(UserError, match='is a directory'):
        pdparams.read(str(tmp_path))
    with pytest.raises(UserError, match='does not exist'):
        pdparams.read(str(tmp_path / 'none'))
    for name in (str(tmp_path), str(tmp_path / 'none'), 3, None, ''):
        with pytest.raises(UserError, match='-o weights='):
            weights.locate(name)


@pytest.mark.parametrize('protocol', PROTOCOLS)
def test_a_broken_file_is_never_a_traceback(tmp_path, protocol):
    """Cut anywhere, and with bytes changed anywhere."""
    path = tmp_path / NAME
    paddle.save(optimizer(), str(path), protocol=protocol)
    content = path.read_bytes()
    for end in list(range(0, len(content), 17)) + [len(content) - 1]:
        path.write_bytes(content[:end])
        with pytest.raises(UserError):
            pdparams.read(str(path))
    chance = np.random.RandomState(protocol)
    for _ in range(500):
        broken = bytearray(content)
        for at in chance.randint(0, len(content), 3):
            broken[at] = chance.randint(256)
        path.write_bytes(bytes(broken))
        try:
            assert isinstance(pdparams.read(str(path)), dict)
        except UserError as e:
            assert '\n' not in str(e)


class Server:
    """An HTTP server of this machine that answers with one content."""

    def __init__(self, content, status=200, headers=None, sent=None, half=None):
        server = self
        self.asked = 0

        class Handler(http.server.BaseHTTPRequestHandler):

            def do_GET(self):
                server.asked += 1
                self.send_response(status)
                given = {'Content-Length': str(len(content))}
                given.update(headers or {})
                for key, value in given.items():
                    if value is not None:
                        self.send_header(key, value)
                self.end_headers()
                self.wfile.write(content[:sent])
                self.wfile.flush()
                if half:
                    half()

            def log_message(self, *_):
                pass

        self._server = http.server.ThreadingHTTPServer(('127.0.0.1', 0),
                                                       Handler)
        self.url = 'http://127.0.0.1:%d/models/%s' % (self._server.server_port,
                                                      NAME)

    def __enter__(self):
        threading.Thread(target=self._server.serve_forever,
                         kwargs={
                             'poll_interval': 0.05
                         },
                         daemon=True).start()
        return self

    def __exit__(self, *_):
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv('HOME', str(tmp_path / 'home'))
    monkeypatch.setenv('no_proxy', '*')
    return weights.home()


@pytest.fixture
def content(tmp_path):
    paddle.save(layer(), str(tmp_path / 'made'))
    return (tmp_path / 'made').read_bytes()


def in_header(content):
    return base64.b64encode(hashlib.md5(content).digest()).decode()


def test_the_cache_is_ppdets():
    runtime.import_ppdet()
    from ppdet.utils import download
    assert weights.home() == download.WEIGHTS_HOME
    assert weights.PPDET[1] == download.PPDET_WEIGHTS_DOWNLOAD_URL_PREFIX


@pytest.mark.parametrize('quote', ('%s', '"%s"', None))
def test_download_then_no_network(home, content, quote, capsys):
    md5 = quote and {'Content-MD5': quote % in_header(content)}
    with Server(content, headers=md5) as server:
        path = weights.locate(server.url + '?from=here')
        assert path == os.path.join(home, NAME) and server.asked == 1
        with open(path, 'rb') as f:
            assert f.read() == content
        assert 'B/s' in capsys.readouterr().err  # progress, with its rate
        assert weights.locate(server.url) == path and server.asked == 1
    assert weights.locate(server.url) == path  # the server is gone
    assert weights.locate('ppdet://models/' + NAME) == path
    assert os.listdir(home) == [NAME]


def no_answer():
    time.sleep(0.8)


@pytest.mark.parametrize('settings, said', (
    (dict(status=404), 'the server says 404'),
    (dict(status=503), 'the server says 503'),
    (dict(sent=100), 'broke off after'),
    (dict(sent=100, half=no_answer), 'broke off after'),
    (dict(sent=0, half=no_answer), 'broke off after'),
    (dict(sent=100, headers={'Content-Length': None}), DAMAGED),
    (dict(headers={'Content-MD5': in_header(b'another')}), 'the MD5'),
    (dict(content=b'<html>Log in to this network</html>'), 'is a web page'),
    (dict(content=pickle.dumps(Call(os.system, 'touch marker'))),
     'posix.system'),
))
def test_failed_downloads_leave_nothing(home, content, settings, said,
                                        monkeypatch):
    monkeypatch.setattr(weights, 'TIMEOUT', (0.3, 0.3))
    settings = dict(dict(content=content), **settings)
    with Server(**settings) as server, pytest.raises(UserError) as error:
        weights.locate(server.url)
    text = str(error.value)
    assert said in text and server.url in text
    if 'cannot be fetched' in text:
        assert "'%s'" % os.path.join(home, NAME) in text
    assert os.listdir(home) == [] and not os.path.exists('marker')


def test_ctrl_c_in_a_download_leaves_nothing(home, content, signals_arrive):

    def interrupt():
        os.kill(os.getpid(), signal.SIGINT)
        no_answer()

    with Server(content, sent=100, half=interrupt) as server, \
            pytest.raises(KeyboardInterrupt):
        weights.locate(server.url)
    assert os.listdir(home) == []


def test_a_download_that_was_killed_is_not_taken_for_whole(home, content):
    os.makedirs(home)
    with open(os.path.join(home, '.%s.1.tmp' % NAME), 'wb') as f:
        f.write(content[:100])
    with Server(content) as server:
        assert len(pdparams.read(weights.locate(server.url))) == 6


def test_the_cache_cannot_be_written(home, content):
    os.makedirs(os.path.dirname(home))
    with open(home, 'w') as f:
        f.write('a file where the directory should be')
    with Server(content) as server, pytest.raises(UserError) as error:
        weights.locate(server.url)
    assert 'cannot be written' in str(error.value)


@pytest.mark.parametrize('url, said', (
    ('file:///tmp/model.pdparams', 'of a file, give its path'),
    ('s3://bucket/model.pdparams', 'URLs may begin with'),
    ('https://example.com/model.tar', 'must end in the name'),
    ('https://example.com/.pdparams', 'must end in the name'),
    ('http://[::1/model.pdparams', 'must end in the name'),
    ('http://?/model.pdparams', 'must end in the name'),
    ('http:///model.pdparams', 'not a working URL'),
    ('http://a b/model.pdparams', 'cannot be fetched'),
))
def test_urls_that_are_none(home, url, said):
    with pytest.raises(UserError, match=said):
        weights.locate(url)


def test_export_without_a_network(tmp_path):
    with Server(b'') as server:
        url = server.url
    begin = time.perf_counter()
    done = run_script('export.py',
                      '-c',
                      'configs/models/picodet_s_320_lcnet.yml',
                      '--save_dir',
                      str(tmp_path / 'out'),
                      '-o',
                      'weights=' + url,
                      env=dict(os.environ, HOME=str(tmp_path), no_proxy='*'))
    assert done.returncode == 2, done.stderr
    assert time.perf_counter() - begin < 60
    line, = done.stderr.splitlines()
    path = tmp_path / '.cache' / 'paddle' / 'weights' / NAME
    assert url in line and "put them at '%s'" % path in line
    assert '-o weights=FILE' in line and 'no connection' in line
    assert not (tmp_path / 'out').exists()


def test_load_takes_all_or_nothing(home, tmp_path):
    path = str(tmp_path / NAME)
    net = network()
    state = {k: np.asarray(v) + 1 for k, v in net.state_dict().items()}
    paddle.save({k: v.astype(np.float16) for k, v in state.items()}, path)
    weights.load(net, path)
    for name, value in net.state_dict().items():
        assert value.dtype == paddle.float32
        np.testing.assert_array_equal(np.asarray(value),
                                      state[name].astype(np.float16))
    paddle.save(
        {
            k: paddle.to_tensor(v).astype('bfloat16')
            for k, v in state.items()
        }, path)
    weights.load(net, path)
    for name, value in net.state_dict().items():
        np.testing.assert_allclose(np.asarray(value), state[name], rtol=0.01)
    before = {k: np.array(v) for k, v in net.state_dict().items()}
    bad = dict(state)
    del bad['0.bias']
    for change, said in ((bad, "'0.bias' is not there"),
                         (dict(state, **{'0.bias': np.ones(9)}),
                          r"'0.bias' is \[9\], the model wants \[4\]"),
                         (dict(state, **{'0.bias': 'text'}),
                          r"'0.bias' is \[\], the model wants \[4\]"), ({
                              'model':
                              state
                          }, '6 of 6 parameters')):
        with open(path, 'wb') as f:
            pickle.dump(change, f)
        with pytest.raises(UserError, match=said):
            weights.load(net, path)
    for name, value in net.state_dict().items():
        np.testing.assert_array_equal(np.asarray(value), before[name])


def test_parts_are_loaded_and_the_rest_left(home, tmp_path):
    path = str(tmp_path / NAME)
    net = network()
    before = {k: np.array(v) for k, v in net.state_dict().items()}
    state = {k: v + 1 for k, v in before.items() if not k.startswith('0.')}
    paddle.save(state, path)
    assert weights.load(net, path, ['1']) == len(state)
    for name, value in net.state_dict().items():
        np.testing.assert_array_equal(np.asarray(value),
                                      state.get(name, before[name]))
    with pytest.raises(UserError, match="'0.weight' is not there"):
        weights.load(net, path, ['0', '1'])
    with pytest.raises(UserError, match="no part 'neck'; its parts: 0, 1"):
        weights.load(net, path, ['neck'])


def test_a_damaged_file_of_the_cache_says_delete_it(home):
    os.makedirs(home)
    path = os.path.join(home, NAME)
    with open(path, 'wb') as f:
        f.write(b'\x80\x02}')
    with pytest.raises(UserError, match='delete it and run again'):
        weights.load(network(), path)
