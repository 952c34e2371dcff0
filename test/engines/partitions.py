"""The recipe of docs/data.md under Spark and under Ray: N partitions cleaned apart and joined are the whole cleaned at once, byte for byte.

    python -m venv venv && venv/bin/pip install pyspark ray        (Spark needs Java)
    venv/bin/python test/engines/partitions.py [spark] [ray]       (QKV: the command, "npx qkv" by default)
"""
import hashlib, json, os, pathlib, random, shlex, subprocess, sys, tempfile, time

QKV = shlex.split(os.environ.get("QKV", "npx qkv"))
HERE = os.getcwd()
N = 8
RULES = {"rules": ["unicode", "controls", "html", "whitespace", "personal", {"gopherQuality": {"minWords": 8}}, {"length": {"min": 40}}]}


def clean(part):
    """What docs/data.md gives to a worker, with the paths of this test."""
    folder = pathlib.Path(part).parent.parent
    out = folder / "clean" / f"{pathlib.Path(part).stem}.jsonl"
    command = [*QKV, "data", "clean", part, f"out={out}", f"pipeline={folder / 'rules.json'}", "--json", "--force"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=HERE)
    return json.loads(done.stdout.splitlines()[-1])


def rows(n):
    """Text of two languages with what the rules are for, and rows that repeat."""
    rng = random.Random(7)
    english = "the ship and a crew of sailors went over deep water to where that island had been with its harbour".split()
    chinese = "我们的船在大海上走了很远，天亮的时候看见一座岛，也不知道是谁住在那里。"
    for i in range(n):
        kind = rng.randrange(6)
        words = " ".join(rng.choice(english) for _ in range(rng.randrange(3, 90)))
        text = (
            f"{words}. Mail me@example.com or 13800138000." if kind == 0
            else f"<div><p>{words}</p>&amp;<br>{i}</div>" if kind == 1
            else "".join(rng.choice(chinese) for _ in range(rng.randrange(5, 300))) if kind == 2
            else f"{words}\r\n\u200b\u0007  \n\n\n\n{words}" if kind == 3
            else "short" if kind == 4
            else f"e\u0301tude {words}"
        )
        yield {"id": i, "text": text}


def spark(parts):
    from pyspark.sql import SparkSession

    session = SparkSession.builder.master("local[2]").appName("qkv").config("spark.ui.enabled", "false").getOrCreate()
    try:
        return session.sparkContext.parallelize(parts, len(parts)).map(clean).collect()
    finally:
        session.stop()


def ray(parts):
    import ray as engine

    engine.init(num_cpus=2, include_dashboard=False, log_to_driver=False, configure_logging=False)
    try:
        return engine.get([engine.remote(clean).remote(part) for part in parts])
    finally:
        engine.shutdown()


def main(names):
    failed = False
    with tempfile.TemporaryDirectory() as temporary:
        folder = pathlib.Path(temporary)
        (folder / "rules.json").write_text(json.dumps(RULES))
        lines = [json.dumps(row, ensure_ascii=False) + "\n" for row in rows(20_000)]
        (folder / "whole").mkdir()
        (folder / "parts").mkdir()
        (folder / "clean").mkdir()
        (folder / "whole" / "all.jsonl").write_text("".join(lines), encoding="utf-8")
        for k in range(N):
            chunk = lines[k * len(lines) // N : (k + 1) * len(lines) // N]
            (folder / "parts" / f"part-{k:03}.jsonl").write_text("".join(chunk), encoding="utf-8")
        whole = clean(str(folder / "whole" / "all.jsonl"))
        wanted = (folder / "clean" / "all.jsonl").read_bytes()
        (folder / "clean" / "all.jsonl").unlink()
        print(f"one run: {whole['kept']} of {whole['documents']} documents kept, {len(wanted)} bytes, sha256 {hashlib.sha256(wanted).hexdigest()[:16]}")
        parts = sorted(map(str, (folder / "parts").glob("*.jsonl")))
        for name in names:
            for old in (folder / "clean").glob("*"):
                old.unlink()
            began = time.monotonic()
            reports = {"spark": spark, "ray": ray}[name](parts)
            joined = b"".join(p.read_bytes() for p in sorted((folder / "clean").glob("*.jsonl")))
            rules = {n: sum(r["dropped"] for report in reports for r in report["rules"] if r["name"] == n) for n in {r["name"] for r in whole["rules"]}}
            same = (
                joined == wanted
                and sum(r["kept"] for r in reports) == whole["kept"]
                and {r["pipeline"] for r in reports} == {whole["pipeline"]}
                and rules == {r["name"]: r["dropped"] for r in whole["rules"]}
            )
            failed |= not same
            version = __import__({"spark": "pyspark", "ray": "ray"}[name]).__version__
            print(f"{name} {version}: {len(parts)} partitions, {len(joined)} bytes, {time.monotonic() - began:.0f} s: {'the same bytes and counts' if same else 'DIFFERENT'}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:] or ["spark", "ray"]))
