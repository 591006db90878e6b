"""Files of the shipped feeds that `benchmarks.traffic` and `benchmarks.native` do not make: wholesale lines, a PBX and
a SIP proxy. Invented rows in the producers' own forms, all accepted by their feed.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, time
from pathlib import Path

import numpy as np

from benchmarks.network import Network, moments

_FILE = "WLR-BENCH-000001.CDR"


def write_wlr(path: Path, rows: int, day: date, seed: int, network: Network) -> Path:
    """A fixed-width file of `rows` records, at most 999,999, with a header, and a trailer whose totals hold."""
    chance = np.random.default_rng([seed, day.toordinal(), 5])
    begin = moments(chance, rows)
    talk = np.minimum(chance.lognormal(4.2, 1.1, rows), 3_000).astype(np.int64)
    callers = network.ranks(chance, rows) % 1_000_000
    called = chance.integers(0, 10_000_000, rows)
    lines = [f"HDR0001CARRIER KLANT{'':35}{'Voorbeeld BV':40}{_FILE:40}000001{day:%Y%m%d}235959"]
    for number in range(rows):
        start, length = begin[number], int(talk[number])
        clock = f"{start // 3600:02}{start // 60 % 60:02}{start % 60:02}00"
        spent = f"{length // 3600:02}{length // 60 % 60:02}{length % 60:02}00"
        caller, other = f"020{1_000_000 + callers[number]:07}", f"040{called[number]:07}"
        lines.append(
            f"CDR{(number + 1) * 10 % 10_000_000:07}  0 {day:%Y%m%d}{clock}{caller:19}004{other:28}004{'':44}"
            f"{spent}9980010001ISDN  ABC   {'10Buiten uw regio':42}EHV {'00000001000000000010'}"
        )
    total = int(talk.sum())
    spent = f"{total // 3600:06}{total // 60 % 60:02}{total % 60:02}00"
    lines.append(f"TRL0001CARRIER KLANT{'':35}{'Voorbeeld BV':40}{_FILE:40}000001{rows:08}{spent}{'0' * 20}Y")
    path.write_text("\n".join(lines) + "\n", "latin-1")
    return path


def write_asterisk(path: Path, rows: int, day: date, seed: int, network: Network) -> Path:
    """A `Master.csv` of a PBX: 21 columns, quoted, calls from outside to extensions; times as local text."""
    chance = np.random.default_rng([seed, day.toordinal(), 6])
    begin = np.minimum(moments(chance, rows), 86_000)
    talk = np.minimum(chance.lognormal(4.2, 1.1, rows), 300).astype(np.int64)
    callers = network.ranks(chance, rows)
    midnight = int(datetime.combine(day, time.min, UTC).timestamp()) - 3_600
    with path.open("w", encoding="utf-8") as file:
        for number in range(rows):
            start, length = int(begin[number]), int(talk[number])
            caller, extension, id_ = f"0{600_000_000 + callers[number]}", 1_000 + number % 900, midnight + start
            times = ",".join(f'"{day} {_clock(moment)}"' for moment in (start, start + 5, start + 5 + length))
            file.write(
                f'"","{caller}","{extension}","from-trunk",""""" <{caller}>","PJSIP/trunk-{number:08x}",'
                f'"PJSIP/{extension}-{number:08x}","Dial","PJSIP/{extension},30",{times},{length + 5},{length},'
                f'"ANSWERED","DOCUMENTATION","{id_}.{number}","","","{id_}.{number}",{number}\n'
            )
    return path


def write_kamailio(path: Path, rows: int, day: date, seed: int, network: Network) -> Path:
    """A flat store of a SIP proxy: INVITE and BYE of `rows` // 2 answered calls, epoch seconds."""
    chance = np.random.default_rng([seed, day.toordinal(), 7])
    begin = np.minimum(moments(chance, rows // 2), 86_000)
    talk = np.minimum(chance.lognormal(4.2, 1.1, rows // 2), 300).astype(np.int64)
    callers, called = network.ranks(chance, rows // 2), network.ranks(chance, rows // 2)
    midnight = int(datetime.combine(day, time.min, UTC).timestamp())
    with path.open("w", encoding="utf-8") as file:
        for number in range(rows // 2):
            start = midnight + int(begin[number])
            dialog = f"{number:08x}|{number ^ 0xABCDEF:08x}|{number:016x}@proxy.example.org|200|OK"
            parties = f"31{600_000_000 + callers[number]}|31{600_000_000 + called[number]}"
            file.write(f"INVITE|{dialog}|{start}|*prepaid|{parties}||1:{number}\n")
            file.write(f"BYE|{dialog}|{start + int(talk[number])}|||||1:{number}\n")
    return path


def _clock(seconds: int) -> str:
    return f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}"
