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
"""What PaddleDetection's tree gets of this project, commit by commit.

Left out are what is for development here (tests, benchmarks, Makefile), what
that tree has itself (backport/), and the demo with its weights.
"""

import io
import os
import re
import subprocess
import tarfile
from typing import Callable, Dict, Iterable, Iterator, List, Set, Tuple

from act.errors import CheckFailed

HERE = os.path.dirname(os.path.abspath(__file__))
PLACE = 'deploy/auto_compression/'
# Where the README that was there goes, with its results and links to models.
PUBLISHED = 'published_results_cn.md'
LEFT_OUT = ('backport/', 'demo/', 'requirements-dev.txt')
# Sections of the README that are about what is left out.
SECTIONS = {
    'README.md':
    ('Quick start', 'COCO instead of the demo', "The demo's data and training"),
    'README_cn.md': ('快速开始', '用 COCO 代替演示数据', '演示数据与训练'),
}
# That tree has no Makefile: what stands for its targets.
_GPU = (r'^GPU=1 make setup\n\. \.venv-gpu/bin/activate$',
        'pip install -r requirements-gpu.txt -r requirements-common.txt '
        '-c constraints.txt\npip install --no-deps -r '
        'requirements-no-deps.txt -c constraints.txt')
_PADDLE3 = (r'^make setup-paddle3\n\. \.venv-paddle3/bin/activate$',
            'pip install -r requirements-paddle3.txt -c constraints.txt\n'
            'pip install --no-deps -r requirements-no-deps.txt '
            '-c constraints.txt')
_SETUP_CN = (r'^在仓库根目录：\n\n```bash\nmake setup\n'
             r'(?:.*\n)*?PaddleDetection 代码目录.*\n\n', '')
_GPU_CN = (r'^在仓库.*`.venv-gpu`.*$', '单独安装：')
_PADDLE3_CN = (r'^在仓库.*`.venv-paddle3`.*$', '单独安装：')
_EXPORT_CN = (r'第一条命令(下载.*\n)第二条导出演示用的检测模型。', r'它\1')
SETUP = {
    'README.md':
    ((r'^At the root of the repository:\n\n```bash\nmake setup\n'
      r'(?:.*\n)*?Makefile, for instance.*\n\n', ''), _GPU, _PADDLE3,
     (r'^At the root of the repository; then `.venv-gpu` takes.*$',
      'In an environment of its own:'),
     (r'^At the root .*; then `.venv-paddle3` takes.*$',
      'In an environment of its own:'),
     (r"The first (downloads .*\n.*) The second exports the demo's detector\.$",
      r'This \1')),
    'README_cn.md':
    (_SETUP_CN, _GPU, _PADDLE3, _GPU_CN, _PADDLE3_CN, _EXPORT_CN),
}
SHIM = '''%(header)s"""%(new)s, by the name that it had here before."""

import os
import runpy

if __name__ == '__main__':
    here = os.path.dirname(os.path.abspath(__file__))
    runpy.run_path(os.path.join(here, '%(new)s'), run_name='__main__')
'''

Files = Dict[str, bytes]
# Subject, body, what of the files it takes: by the beginning of the path.
COMMITS = (
    ('auto_compression: a library for compression and evaluation',
     'Configuration, data, quantization (calibrated or trained), evaluation,\n'
     'TensorRT shapes, profile and diagnosis: what the scripts call.',
     ('act/', 'requirements', 'constraints.txt', 'check_python.py')),
    ('auto_compression: CPU operators for deformable attention and others',
     'Built on first use with g++. Without a compiler the programs run as\n'
     'they are.', ('ops/', )),
    ('auto_compression: configurations of four models',
     'PicoDet-S, PP-YOLOE+-l, RT-DETR-L and DINO-R50, each from export to\n'
     'int8 on CPU and GPU. Those that were there stay and work.',
     ('configs/', )),
    ('auto_compression: scripts for export, compression, evaluation, diagnosis',
     'run.py and paddle_inference_eval.py take the options and the\n'
     'configurations of the scripts before them.', ('', )),
)


def commits(files: Files) -> Iterator[Tuple[str, str, Files]]:
    """(subject, body, {path in the tree: content}) of each commit.

    Args:
        files: of our directory.
    """
    left = dict(files)
    for subject, body, beginnings in COMMITS:
        yield subject, body, {
            PLACE + name: left.pop(name)
            for name in list(left) if name.startswith(beginnings)
        }


def edited(directory: str, edits: Iterable[Tuple[str, str, str]]) -> Files:
    """Files of the tree that change.

    Args:
        directory: ours in the tree, as it is there.
        edits: see `series.Branch`.

    Raises:
        CheckFailed: one of them is no longer what was edited.
    """
    made = {PUBLISHED: _tidy(_read(directory, 'README.md')).encode()}
    for name, before, after in edits:
        text = _read(directory, name)
        if before not in text:
            raise CheckFailed("'%s' has no '%s' any more" % (name, before))
        made[name] = text.replace(before, after).encode()
    return made


def _read(directory: str, name: str) -> str:
    with open(os.path.join(directory, name), encoding='utf-8') as f:
        return f.read()


def _tidy(text: str) -> str:
    """As PaddleDetection's checks want a file that is new."""
    lines = [line.rstrip() for line in text.replace('\t', '    ').splitlines()]
    return '\n'.join(lines).rstrip() + '\n'


def cover_letter(root: str, branch: str, patches_only: bool) -> str:
    """Subject and text of the cover letter."""
    name = 'cover_letter_patches.txt' if patches_only else 'cover_letter.txt'
    with open(os.path.join(HERE, name), encoding='utf-8') as f:
        return f.read() % {'branch': branch}


def files(root: str, shims: Iterable[Tuple[str, str]]) -> Files:
    """What our directory gets.

    Args:
        root: of this repository; its last commit counts.
        shims: see `series.Branch`.
    """
    made = _ours(root)
    header = _header(made['run.py'].decode())
    for old, new in shims:
        made[old] = (SHIM % dict(header=header, new=new)).encode()
    return made


def _ours(root: str) -> Files:
    packed = subprocess.run(['git', '-C', root, 'archive', 'HEAD', PLACE],
                            stdout=subprocess.PIPE,
                            check=True).stdout
    files = {}
    with tarfile.open(fileobj=io.BytesIO(packed)) as archive:
        for member in archive:
            if member.isfile():
                files[member.name[len(PLACE):]] = archive.extractfile(
                    member).read()
    with open(os.path.join(root, '.clang-format'), 'rb') as f:
        files['ops/.clang-format'] = f.read()
    for name in SECTIONS:
        files[name] = readme(files[name].decode(), name).encode()
    for name, edit in EDITS.items():
        files[name] = edit(files[name].decode()).encode()
    needed = shown(files[name].decode() for name in SECTIONS) - {PUBLISHED}
    kept = {
        name: content
        for name, content in files.items()
        if name in needed or not name.startswith(LEFT_OUT)
    }
    missing = sorted(needed - set(kept))
    if missing:
        raise CheckFailed('the README shows %s, which the tree lacks' %
                          missing[0])
    return kept


def _header(source: str) -> str:
    return source[:source.index('"""')]


def readme(text: str, name: str) -> str:
    """The README of the tree: without the sections of what is left out, and
    with a quick start of its own."""
    dropped = SECTIONS[name]
    # Of this repository's tests.
    text = re.sub(r'^ *<!-- runnable -->\n', '', text, flags=re.MULTILINE)
    parts = re.split(r'^(?=## )', text, flags=re.MULTILINE)
    found = [p.partition('\n')[0][3:] for p in parts[1:]]
    for title in dropped:
        if title not in found:
            raise CheckFailed("%s has no section '%s'" % (name, title))
    kept = [parts[0]]
    for title, part in zip(found, parts[1:]):
        if title == dropped[0]:
            start = name.replace('README', 'quick_start')
            with open(os.path.join(HERE, start), encoding='utf-8') as f:
                kept.append(f.read() + '\n')
        elif title not in dropped:
            kept.append(part)
    made = ''.join(kept)
    for pattern, into in SETUP[name]:
        made = _once(made, pattern, into)
    made = re.sub(r'^```bash\n(?:.*\n)*?```\n', _commands, made, flags=re.M)
    for title in dropped[1:]:
        target = re.escape(anchor(title))
        made = re.sub(r'^- \[[^\]]*\]\(#%s\)\n' % target,
                      '',
                      made,
                      flags=re.MULTILINE)
        made = re.sub(r'\[([^\]]*)\]\(#%s\)' % target, r'\1', made)
    # Around blocks that went.
    return re.sub(r'\n{3,}', '\n\n', made)


def _commands(block: 're.Match[str]') -> str:
    """A block of commands, of those that need no demo, with COCO's model."""
    lines = [x for x in block.group().splitlines(True) if 'demo/' not in x]
    text = ''.join(lines).replace('_lcnet_demo', '_lcnet')
    return text.replace('dataset/shapes', 'dataset/coco') \
        if len(lines) > 2 else ''


def titles(text: str) -> List[str]:
    """The headings of a document, but for its first."""
    return re.findall(r'^##+ (.*)$', text, re.MULTILINE)


def anchors(text: str) -> List[str]:
    """What a document links to in itself."""
    return re.findall(r'\]\(#([^)]*)\)', text)


def anchor(title: str) -> str:
    """A heading's name in links, as GitHub makes it."""
    return re.sub(r'[^\w\- ]', '', title.lower()).replace(' ', '-')


def shown(texts: Iterable[str]) -> Set[str]:
    """Files that documents link to, or show."""
    found = set()
    for text in texts:
        for target in re.findall(r'\]\(([^)#\s]+)\)', text):
            if '://' not in target:
                found.add(os.path.normpath(target))
    return found


def _picodet(text: str) -> str:
    """Its YAML without the demo."""
    return _once(
        _once(_once(text, r'^Preset: demo$', 'Preset: coco'),
              r'^  demo:\n(?:    .*\n)+', ''),
        r'^# Runs on the demo.*\n(?:#.*\n)+', '')


def _once(text: str, pattern: str, into: str) -> str:
    made, count = re.subn(pattern, into, text, flags=re.MULTILINE)
    if count != 1:
        raise CheckFailed("%r is there %d times, not once" % (pattern, count))
    return made


EDITS: Dict[str, Callable[[str], str]] = {
    'configs/picodet_s_320_lcnet_qat.yml': _picodet,
}
