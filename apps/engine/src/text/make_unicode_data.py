#!/usr/bin/env python3
"""Writes unicode_data.inc: character classes as the Hugging Face tokenizers crate sees them and canonical decompositions.

usage: make_unicode_data.py unicode_classes.json > unicode_data.inc

The classes come from probing the crate (Oniguruma, Unicode 16); Nl, Pc and decompositions from Python's unicodedata. Only needed again
when the crate moves to another Unicode version.
"""
import json
import sys
import unicodedata as ud

LAST = 0x110000
BITS = {"\\p{Lu}": 0, "\\p{Ll}": 1, "\\p{Lt}": 2, "\\p{Lm}": 3, "\\p{Lo}": 4, "\\p{M}": 5, "\\p{N}": 6, "\\p{P}": 7, "\\p{S}": 8,
        "\\s": 9, "Digits(char::is_numeric)": 10, "Bert.punctuation": 12}
WORD = 11  # \w of the regex crate: Alphabetic, M, Nd, Pc, Join_Control
ENCLOSED_LETTERS = [(0x24B6, 0x24E9), (0x1F130, 0x1F149), (0x1F150, 0x1F169), (0x1F170, 0x1F189)]


def class_flags(classes):
    flags = [0] * LAST
    for name, bit in BITS.items():
        for first, last in classes[name]:
            for code in range(first, last + 1):
                flags[code] |= 1 << bit
    letters = sum(last - first + 1 for first, last in classes["\\p{L}"])
    assert letters == sum(1 for f in flags if f & 31), "L is Lu, Ll, Lt, Lm or Lo"
    digits = {code for first, last in classes["\\p{Nd}"] for code in range(first, last + 1)}
    for code in range(LAST):
        word = flags[code] & 0b111111 or code in digits or ud.category(chr(code)) in ("Nl", "Pc") or code in (0x200C, 0x200D)
        if word or any(first <= code <= last for first, last in ENCLOSED_LETTERS):
            flags[code] |= 1 << WORD
    return flags


def rows(name, struct, items, per_line):
    print(f"constexpr {struct} {name}[] = {{")
    for i in range(0, len(items), per_line):
        print("    " + " ".join(items[i:i + per_line]))
    print("};")


def main():
    flags = class_flags(json.load(open(sys.argv[1])))
    print("// Made by make_unicode_data.py; do not edit. clang-format off")
    runs = [(c, flags[c]) for c in range(LAST) if c == 0 or flags[c] != flags[c - 1]]
    rows("kClassRuns", "ClassRun", [f"{{{c},{f}}}," for c, f in runs], 8)

    decompositions, combining = [], []
    for code in range(LAST):
        if code == 0x11938:  # newer than the crate's normalization tables (Unicode 12)
            continue
        text = ud.decomposition(chr(code))
        if text and not text.startswith("<"):
            parts = [int(x, 16) for x in text.split()]
            pair = len(parts) == 2
            composes = pair and ud.normalize("NFC", "".join(map(chr, parts))) == chr(code)
            decompositions.append((code, parts[0], parts[1] if pair else 0, int(composes)))
    rows("kDecompositions", "Decomposition", [f"{{{a},{b},{c},{d}}}," for a, b, c, d in decompositions], 4)
    for code in range(LAST + 1):
        value = ud.combining(chr(code)) if code < LAST else 0
        if not combining and value == 0:
            continue
        if not combining or combining[-1][1] != value:
            combining.append((code, value))
    rows("kCombiningRuns", "ClassRun", [f"{{{c},{f}}}," for c, f in [(0, 0)] + combining], 9)

    lower = [(c, chr(c).lower()) for c in range(LAST) if chr(c).lower() != chr(c)]
    rows("kLowercase", "CaseMapping", [f"{{{c},{ord(t[0])},{ord(t[1]) if len(t) > 1 else 0}}}," for c, t in lower], 5)


main()
