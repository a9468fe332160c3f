"""Reads metrics from standard input with Prometheus' own parser; exits 1 where they break a rule."""
import sys

from prometheus_client.parser import text_string_to_metric_families

text = sys.stdin.read()
families = list(text_string_to_metric_families(text))
names = [f.name for f in families]
problems = [f"family {n} appears twice" for n in set(names) if names.count(n) > 1]
seen = set()
for family in families:
    if family.type not in ("counter", "gauge", "histogram"):
        problems.append(f"{family.name} has type {family.type}")
    if not family.documentation:
        problems.append(f"{family.name} has no help")
    for sample in family.samples:
        key = (sample.name, tuple(sorted(sample.labels.items())))
        if key in seen:
            problems.append(f"{key} appears twice")
        seen.add(key)
        if family.type == "counter" and (not sample.name.endswith("_total") or sample.value < 0):
            problems.append(f"{key} is no counter")
    if family.type == "histogram":
        series = {}
        for s in family.samples:
            labels = {k: v for k, v in s.labels.items() if k != "le"}
            entry = series.setdefault(tuple(sorted(labels.items())), {"buckets": []})
            if s.name.endswith("_bucket"):
                entry["buckets"].append((float(s.labels["le"]), s.value))
            else:
                entry[s.name.rsplit("_", 1)[1]] = s.value
        for labels, e in series.items():
            values = [v for _, v in sorted(e["buckets"])]
            if values != sorted(values) or sorted(e["buckets"])[-1][0] != float("inf"):
                problems.append(f"{family.name} {labels}: buckets are not cumulative up to +Inf")
            if e.get("count") != values[-1] or "sum" not in e:
                problems.append(f"{family.name} {labels}: count or sum is wrong")
if not any(n == "bulla_requests" for n in names):
    problems.append("bulla_requests_total is missing")
for p in problems:
    print(p, file=sys.stderr)
sys.exit(1 if problems else 0)
