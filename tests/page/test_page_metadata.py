"""The reader's columns, rows and series in Python: what they are taken for, packed, checked and written."""

import datetime
import re
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from tests.pages import page_data, unpacked
from torchviz_layers.exceptions import PageError
from torchviz_layers.page import build_page
from torchviz_layers.page.columns import smallest_exact, text_column
from torchviz_layers.page.metadata import field_columns, field_meta, is_missing, read_fields, told_apart
from torchviz_layers.page.sampling import thinned
from torchviz_layers.page.views import MISSING, robust_scale, shown_view, view_notes

N = 300
RNG = np.random.default_rng(0)
AGES = np.where(np.arange(N) % 10 == 0, np.nan, RNG.integers(20, 80, N))
SITES = np.array([None if k % 7 == 0 else ("Oslo", "Lyon", "Lyon")[k % 3] for k in range(N)], dtype=object)
REMARKS = np.array([f"remark number {k}" for k in range(N)])
DAYS = np.datetime64("2021-03-01") + RNG.integers(0, 900, N).astype("m8[D]")
COLUMNS = {"age": AGES, "site": SITES, "remark": REMARKS, "admitted": DAYS}


def kind_of(values) -> str:
    return read_fields({"c": values}, ())[0].kind


class TestKinds:
    @pytest.mark.parametrize(
        ("values", "kind"),
        [
            (RNG.normal(size=N), "number"),
            (RNG.integers(0, 1000, N), "number"),
            (RNG.integers(0, 5, N), "category"),
            (RNG.integers(0, 5, N).astype(float), "category"),
            (np.where(np.arange(N) % 2, 1.0, np.nan), "category"),
            (RNG.uniform(size=N) < 0.5, "category"),
            (np.ones(1, bool), "category"),
            (SITES, "category"),
            (REMARKS, "text"),
            (np.array([f"town {k % 100}" for k in range(N)]), "category"),
            (np.array([("word " * 40) + str(k % 3) for k in range(N)]), "text"),
            (DAYS, "date"),
            (np.full(N, None, dtype=object), "category"),
            (np.full(N, np.nan), "category"),
            (np.full(N, np.inf), "number"),
            (np.arange(N, dtype=np.int64) + 2**60, "text"),
            (pd.Series(DAYS, index=range(7, N + 7)), "date"),
            (pd.Categorical(["a", "b"] * 150), "category"),
            (pd.array([1, None] * 150, dtype="Int64"), "category"),
            (pd.Series(RNG.integers(0, 1000, N)).astype("Int64"), "number"),
            ([datetime.date(2020, 1, 1 + k % 20) for k in range(N)], "date"),
            (np.arange(N).astype("m8[h]"), "number"),
            (RNG.normal(size=N) + 1j, "text"),
            (np.ma.masked_less(np.arange(N), 100), "number"),
        ],
    )
    def test_values_decide(self, values, kind):
        assert kind_of(values) == kind

    @pytest.mark.parametrize("missing", [None, float("nan"), np.nan, np.datetime64("NaT"), pd.NaT, pd.NA])
    def test_what_is_missing_is_counted_whatever_stands_for_it(self, missing):
        assert is_missing(missing)
        values = np.array(["a", "a", missing, "b", "b"], dtype=object)
        (field,) = read_fields({"c": values}, ())
        assert (field.kind, field.missing, field.names) == ("category", 1, ("a", "b"))

    def test_a_list_keeps_nan_among_text_apart_from_the_text_nan(self):
        (field,) = read_fields({"c": ["x", float("nan"), "x", "nan", "nan"]}, ())
        assert (field.missing, field.names) == (1, ("nan", "x"))

    def test_masked_values_are_missing(self):
        (field,) = read_fields({"c": np.ma.masked_less(np.arange(N), 100)}, ())
        assert field.missing == 100
        np.testing.assert_array_equal(field.values[100:], np.arange(100, N))

    def test_categories_are_in_order_of_their_counts_and_numbers_in_their_own(self):
        text, numbers = read_fields({"t": ["b", "a", "c", "c", "b", "c"] * 9, "n": [10, 9, 9, 9] * 9}, ())
        assert text.names == ("c", "b", "a")
        assert [text.names[code] for code in text.values[:3]] == ["b", "a", "c"]
        assert numbers.names == ("9", "10")

    def test_dates_have_the_longest_exact_unit_and_time_zones_are_utc(self):
        zone = datetime.timezone(datetime.timedelta(hours=2))
        stamps = [datetime.datetime(2020, 1, 1, 2, second, tzinfo=zone) for second in range(20)]
        days, seconds = read_fields({"d": DAYS, "s": stamps}, ())
        assert (days.unit, seconds.unit) == (86_400_000, 1000)
        np.testing.assert_array_equal(days.values, DAYS.astype("M8[D]").astype(int))
        assert seconds.values[0] == datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC).timestamp()

    def test_the_scale_of_colours_leaves_out_the_extremes(self):
        values = np.append(RNG.uniform(0.1, 1, 999), 1e6)
        described = field_meta(read_fields({"c": values}, ())[0])
        assert described["high"] == 1e6
        assert described["scale"][1] <= 1

    def test_names_that_the_page_uses_itself_are_told_apart(self):
        assert told_apart(["id", "age", "id (column)", 7, "7"], ["id"]) == [
            "id (column)",
            "age",
            "id (column) (column)",
            "7",
            "7 (column)",
        ]


class TestPacking:
    @pytest.mark.parametrize(
        ("values", "dtype"),
        [
            ([0, 255], "uint8"),
            ([0, 256], "uint16"),
            ([2_000_000_000, 1], "uint32"),
            ([-1, 5], "float32"),
            ([np.nan, 1999], "float32"),
            ([np.nan, 20_000_001], "float64"),
            ([0.1, 0.7], "float32"),
            ([1_700_000_000.5, 1_700_000_100.25], "float64"),
            ([np.inf, 0.5, 1e300], "float64"),
        ],
    )
    def test_the_smallest_type_that_changes_nothing(self, values, dtype):
        given = np.array(values, dtype=np.float64)
        packed = smallest_exact(given)
        assert packed.dtype == dtype
        whole = given == np.round(given)
        np.testing.assert_array_equal(packed[whole], given[whole])
        np.testing.assert_allclose(packed, given, rtol=1e-6)

    def test_texts_unpack_to_the_same_whatever_is_in_them(self):
        texts = ["</script>", None, "🦊", "\ud800 alone", "مرحبا", "\u2028", "x" * 10_000]
        assert unpacked(**text_column(texts)) == texts

    def test_series_are_within_a_step_of_their_channel_s_range_and_nan_stays_missing(self):
        series = RNG.normal(size=(50, 2, 40)).astype("f4") * np.array([[1], [100]], "f4")
        series[3, 1, 5] = np.nan
        steps = unpacked(**shown_view(page_data(n=50, images=None, corner_cases=(), series=series))[0]["series"])
        low, high = np.nanmin(series, axis=(0, 2)), np.nanmax(series, axis=(0, 2))
        assert (np.argwhere(steps == MISSING) == [[3, 1, 5]]).all()
        back = low[:, None] + steps * (high - low)[:, None] / (MISSING - 1)
        back[3, 1, 5] = np.nan
        np.testing.assert_allclose(back, series, atol=float((high - low).max()) / 65_000)

    @pytest.mark.parametrize("given", [(), ("0", "1", "2")])
    def test_features_without_names_are_called_as_in_the_table(self, given):
        data = page_data(n=50, images=None, rows=np.zeros((50, 3), "f4"), row_names=given)
        names = [feature["name"] for feature in shown_view(data)[1]["features"]]
        assert names == ["feature 0", "feature 1", "feature 2"]
        assert set(names) <= set(build_page(data).to_frame().columns)

    def test_long_series_and_wide_rows_are_cut_to_the_budget_and_said_to_be(self, monkeypatch):
        monkeypatch.setattr("torchviz_layers.page.views.SERIES_BUDGET", 2 * 300 * 20)
        monkeypatch.setattr("torchviz_layers.page.views.ROWS_BUDGET", 4 * 300 * 7)
        ramp = np.broadcast_to(np.arange(40.0), (N, 1, 40))
        long = page_data(images=None, series=ramp)
        assert view_notes(long) == ["series shown as 20 means of 40 points"]
        np.testing.assert_allclose(
            unpacked(**shown_view(long)[0]["series"])[0, 0] / 65_534, np.linspace(0, 1, 20), atol=1e-4
        )
        wide = page_data(images=None, rows=np.zeros((N, 9), "f4"))
        assert view_notes(wide) == ["shown: the first 7 of 9 features"]
        assert "the first 7 of 9 features" in build_page(wide).html

    def test_the_scale_of_a_feature_is_its_interquartile_range(self):
        values = np.column_stack([RNG.normal(size=N), np.zeros(N), np.arange(N) == 0]).astype("f4")
        medians, scales = robust_scale(values)
        low, middle, high = np.percentile(values[:, 0], (25, 50, 75))
        np.testing.assert_allclose((medians[0], scales[0]), (middle, high - low), rtol=1e-6)
        assert scales[1] == 0
        assert scales[2] == pytest.approx(values[:, 2].std())  # its quartiles are equal


class TestChecks:
    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"columns": {"age": AGES[:7]}}, r"'age' has shape \(7,\); pass one value per sample, \(300,\)"),
            ({"columns": {"age": np.zeros((N, 2))}}, r"'age' has shape \(300, 2\)"),
            ({"columns": {"age": 3}}, r"'age' has shape \(\)"),
            ({"columns": {"age": "x" * N}}, "'age' has shape"),
            ({"columns": [AGES]}, "columns: list; pass a dict"),
            ({"rows": np.zeros((7, 2))}, r"rows: float64 of shape \(7, 2\); pass numbers of shape \(300, n_features\)"),
            ({"rows": np.zeros(N)}, r"rows: float64 of shape \(300,\)"),
            ({"rows": np.full((N, 2), "a")}, "rows: <U1"),
            ({"rows": np.zeros((N, 2)), "row_names": ["a"]}, "row_names: 1 names for 2 features"),
            ({"row_names": ["a"]}, "row_names: 1 names, but no rows"),
            ({"series": np.zeros((N, 9))}, r"pass numbers of shape \(300, n_channels, length\)"),
            ({"series": np.zeros((N, 0, 9))}, "series: float64"),
        ],
    )
    def test_parts_that_do_not_fit_are_named_with_the_rule(self, change, message):
        with pytest.raises(PageError, match=message):
            build_page(replace(page_data(images=None), **change))

    def test_of_more_than_fifty_columns_the_first_are_shown_and_all_are_in_the_frame(self):
        page = build_page(page_data(columns={f"c{k}": AGES for k in range(60)}))
        assert "shown: the first 50 of 60 columns" in page.html
        assert page.html.count('data-column="field-') == 50
        assert {f"c{k}" for k in range(60)} <= set(page.to_frame())


class TestOtherTools:
    def test_the_frame_has_the_columns_in_their_order_with_their_values(self):
        frame = build_page(page_data(columns=COLUMNS)).to_frame()
        assert list(frame)[:6] == ["id", "truth", *COLUMNS]
        np.testing.assert_array_equal(frame["age"], AGES)
        assert frame["site"].fillna("missing").tolist() == [site or "missing" for site in SITES]
        np.testing.assert_array_equal(frame["admitted"], DAYS)

    def test_collisions_and_features_have_names_of_their_own(self):
        rows = RNG.normal(size=(N, 2)).astype("f4")
        taken = {"id": AGES, "truth": AGES, "net A prediction": AGES, "input x": AGES, "text": AGES}
        data = page_data(columns=taken, rows=rows, row_names=["weight", "id"])
        frame = build_page(data).to_frame()
        for name in ("id", "truth", "net A prediction", "input x"):
            np.testing.assert_array_equal(frame[f"{name} (column)"], AGES)
        np.testing.assert_array_equal(frame["text"], AGES)
        np.testing.assert_array_equal(frame["weight"], rows[:, 0])
        np.testing.assert_array_equal(frame["id (column) (column)"], rows[:, 1])
        assert frame["id"].tolist() == list(range(N))

    def test_parquet_keeps_types_and_what_is_missing(self, tmp_path):
        mixed = np.array([1, "two", None] * 100, dtype=object)
        data = page_data(images=None, texts=list(REMARKS), columns=COLUMNS | {"mixed": mixed, "ok": AGES > 40})
        frame = pd.read_parquet(build_page(data).save_parquet(tmp_path / "page.parquet"))
        np.testing.assert_array_equal(frame["age"], AGES)
        assert frame["site"].isna().tolist() == [site is None for site in SITES]
        assert frame["mixed"].fillna("missing").tolist()[:3] == ["1", "two", "missing"]
        assert frame["text"].tolist() == REMARKS.tolist()
        assert frame["ok"].dtype == bool
        assert pd.to_datetime(frame["admitted"]).tolist() == [pd.Timestamp(day) for day in DAYS]

    def test_more_than_a_hundred_features_are_not_repeated(self):
        frame = build_page(page_data(images=None, rows=np.zeros((N, 101), "f4"))).to_frame()
        assert not [name for name in frame if name.startswith("feature")]

    def test_a_part_takes_its_own_rows_along(self):
        rows, series = RNG.normal(size=(N, 3)).astype("f4"), RNG.normal(size=(N, 1, 9)).astype("f4")
        given = COLUMNS | {"series": pd.Series(AGES, index=range(7, N + 7)), "list": list(range(N))}
        data = page_data(images=None, texts=list(REMARKS), rows=rows, series=series, columns=given)
        part = thinned(data, 60)
        kept = np.array([int(name) for name in part.ids])
        np.testing.assert_array_equal(part.rows, rows[kept])
        np.testing.assert_array_equal(part.series, series[kept])
        assert list(part.texts) == REMARKS[kept].tolist()
        assert list(part.columns) == list(given)
        for name in ("age", "series"):
            np.testing.assert_array_equal(part.columns[name], AGES[kept])
        assert part.columns["list"].tolist() == kept.tolist()


def test_nothing_of_the_caller_s_is_changed():
    given = {name: values.copy() for name, values in COLUMNS.items()}
    rows = RNG.normal(size=(N, 3)).astype("f4")
    before = rows.copy()
    build_page(page_data(images=None, rows=rows, columns=given))
    np.testing.assert_array_equal(rows, before)
    for name, values in COLUMNS.items():
        assert [str(value) for value in given[name]] == [str(value) for value in values]


def test_hostile_names_and_values_stay_text_in_the_file():
    payload = "</script><script>window.hacked = 1</script>"
    columns = {payload: np.array([payload, "b"] * 150), "__proto__": [payload + str(k) for k in range(N)]}
    html = build_page(page_data(images=None, texts=[payload] * N, columns=columns)).html
    assert payload not in html
    assert not re.search(r"window\.hacked = 1</script>", html)


def test_three_columns_of_ten_thousand_samples_take_little_of_a_page():
    n = 10_000
    columns = {
        "age": RNG.normal(50, 15, n),
        "site": RNG.choice(["Oslo", "Lyon", "Rome"], n),
        "seen": np.datetime64("2020-01-01") + RNG.integers(0, 2000, n).astype("m8[D]"),
    }
    packed = field_columns(read_fields(columns, ()))
    assert sum(len(each["data"]) for each in packed.values()) <= 0.1e6
