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
"""What a search has found out, on disk: one that is stopped, or asked again,
goes on where it was.

A file of JSON lines: first what the results hold for, then one a probe, as
[key, result]. Each is on the disk before the next probe begins.
"""

import json
import os
from typing import Any, Callable, Dict, Mapping

from ..errors import UserError

# Of the file, in a search's directory.
NAME = 'probes.jsonl'


class Journal:
    """Results of probes by their keys.

    `reused` counts the probes that were there and asked for.
    """

    def __init__(self,
                 path: str,
                 holds_for: Mapping[str, Any],
                 fresh: bool = False) -> None:
        """
        Args:
            path: of the file; made with the first result.
            holds_for: {what: its value}, all that results depend on beside
                their keys, as JSON has it. A file of other values is made
                anew, which is said on the terminal.
            fresh: make it anew in any case.
        """
        self.path = path
        self.reused = 0
        self._holds_for = json.loads(json.dumps(dict(holds_for)))
        self._known: Dict[str, Any] = {}
        self._whole = 0  # bytes of the file that are kept
        if not fresh:
            self._read()

    def __len__(self) -> int:
        return len(self._known)

    def ask(self, key: Any, probe: Callable[[], Any]) -> Any:
        """The result of a probe, which is run if it is not known.

        Args:
            key: says which, as JSON has it; sets must be given sorted.
            probe: its result must be JSON.

        Raises:
            UserError: the file cannot be written.
        """
        name = json.dumps(key, sort_keys=True)
        if name in self._known:
            self.reused += 1
            return self._known[name]
        result = json.loads(json.dumps(probe()))
        self._add(json.loads(name), result)
        self._known[name] = result
        return result

    def _read(self) -> None:
        try:
            with open(self.path, 'rb') as f:
                content = f.read()
        except OSError:
            return
        # A last line without its end was cut by a kill.
        lines = content.split(b'\n')[:-1]
        try:
            found = json.loads(lines[0])
            rows = [json.loads(line) for line in lines[1:]]
            pairs = {json.dumps(k, sort_keys=True): v for k, v in rows}
        except (ValueError, IndexError, TypeError):
            print("'%s' is no journal of probes: made anew" % self.path)
            return
        if found != self._holds_for:
            changed = sorted(k for k in {*found, *self._holds_for}
                             if found.get(k) != self._holds_for.get(k))
            print("'%s' holds probes for another %s: made anew" %
                  (self.path, ', '.join(changed)))
            return
        self._known = pairs
        self._whole = sum(len(line) + 1 for line in lines)

    def _add(self, key: Any, result: Any) -> None:
        new = [[key, result]] if self._whole else \
            [self._holds_for, [key, result]]
        content = ''.join(json.dumps(row) + '\n' for row in new).encode()
        try:
            os.makedirs(os.path.dirname(self.path) or '.', exist_ok=True)
            with open(self.path, 'r+b' if self._whole else 'wb') as f:
                f.truncate(self._whole)
                f.seek(self._whole)
                f.write(content)
                f.flush()
                os.fsync(f.fileno())
        except OSError as e:
            raise UserError("journal '%s' cannot be written: %s; free some "
                            'space there, or name another --output_dir' %
                            (self.path, e.strerror or e)) from None
        self._whole += len(content)
