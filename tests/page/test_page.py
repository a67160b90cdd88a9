"""The page's parts in Python: what is counted, packed, checked and written."""

import base64
import io
import re
import stat
import zlib
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from tests.pages import Case, nearest, page_data, photographs, unpacked
from torchviz_layers._common.votes import prediction_depth
from torchviz_layers.corner_cases import CornerCase
from torchviz_layers.exceptions import PageError, TorchvizLayersError
from torchviz_layers.page import Network, PageData, Panel, build_page, plot_embedding, summaries
from torchviz_layers.page.build import meta
from torchviz_layers.page.case_list import listed_cases
from torchviz_layers.page.columns import column, rows, share
from torchviz_layers.page.geometry import class_centres, drawing_order, square_ranges
from torchviz_layers.page.headline import headline as headline_of
from torchviz_layers.page.headline import subsets
from torchviz_layers.page.palette import class_colors
from torchviz_layers.page.sampling import shown_rows, thinned
from torchviz_layers.page.thumbnails import BUDGET, thumbnails


@pytest.fixture(scope="module")
def data() -> PageData:
    return page_data()


@pytest.fixture(scope="module")
def page(data):
    return build_page(data)


def column_of(html: str, name: str) -> np.ndarray:
    """A column of the page, read back from its file."""
    found = re.search(rf'data-column="{name}" data-dtype="(\w+)" data-shape="([\d,]+)">([^<]*)<', html)
    dtype, shape, text = found.groups()
    return unpacked(dtype, [int(size) for size in shape.split(",")], text)


def headline(data: PageData) -> str:
    return "".join(text for text, _ in headline_of(data, subsets(data)))


class TestSummaries:
    def test_votes_are_the_majority_and_ties_go_to_the_nearer(self):
        labels = np.array([0, 0, 1, 1, 2])
        neighbors = np.array([[2, 0, 1, 3], [0, 2, 3, 1], [2, 3, 4, 0], [4, 2, 0, 0], [4, 4, 2, 2]])
        assert summaries.votes(neighbors, labels, 3).tolist() == [1, 0, 1, 0, 2]

    def test_votes_agree_with_counting_by_hand(self):
        rng = np.random.default_rng(0)
        labels = rng.integers(0, 4, 200)
        neighbors = rng.integers(0, 200, (200, 8))
        for row, vote in enumerate(summaries.votes(neighbors, labels, 4)):
            counts = np.bincount(labels[neighbors[row]], minlength=4)
            assert counts[vote] == counts.max()

    def test_only_the_neighbours_shown_vote(self):
        labels = np.array([0] * 8 + [1] * 20)
        assert summaries.votes(np.arange(28)[None], labels, 2).tolist() == [0]

    def test_prediction_depth_is_the_first_step_that_stays_right(self):
        votes = np.array([[1, 0, 1, 0], [1, 1, 0, 0], [1, 1, 1, 0]])
        assert prediction_depth(votes, np.array([1, 1, 1, 1])).tolist() == [0, 1, 2, 3]

    def test_without_targets_neighbours_agree_from_the_first_layer_that_stays_with_the_answer(self, data):
        network = data.networks[0]
        blind = replace(data, targets=None)
        labels = network.predictions
        votes = np.stack([summaries.votes(panel.neighbors, labels, 10) for panel in network.panels])
        settled = summaries.right_from(blind, network)
        for row in range(300):
            right = votes[:, row] == labels[row]
            expected = next((step for step in range(2) if right[step:].all()), 2)
            assert settled[row] == 1 + expected  # the input, which has no vote, is step 0

    def test_headline_of_two_counts_what_the_arrays_hold(self, data):
        assert headline(data) == "net B fixes 15 of net A’s 20 errors and makes 5 of its own; both misclassify 5."

    def test_headline_names_the_better_network_first_whatever_the_order(self, data):
        assert headline(replace(data, networks=data.networks[::-1])) == headline(data)

    def test_a_long_name_is_cut_in_the_headline(self, data):
        networks = (replace(data.networks[0], name="n" * 300),)
        assert headline(replace(data, networks=networks)).startswith("n" * 20 + "…" + "n" * 19 + " classifies 280")

    def test_headline_of_one(self, data):
        assert (
            headline(replace(data, networks=data.networks[:1]))
            == "net A classifies 280 of 300 correctly; 20 are wrong."
        )

    def test_headline_without_any_error(self, data):
        right = [
            replace(network, probabilities=np.eye(10, dtype=np.float32)[data.targets]) for network in data.networks
        ]
        assert headline(replace(data, networks=tuple(right))) == "net A and net B classify all 300 samples correctly."
        assert headline(replace(data, networks=(right[0],))) == "net A classifies all 300 samples correctly."
        half = replace(data, networks=(data.networks[0], right[1]))
        assert headline(half) == "net B fixes 20 of net A’s 20 errors; they have none in common."

    def test_headline_without_targets_counts_where_they_differ(self, data):
        assert headline(replace(data, targets=None)) == "net A and net B differ on 20 of 300 samples."

    def test_headline_without_outputs_says_what_is_shown(self):
        panels = (Panel("a", np.zeros((7, 2), np.float32)), Panel("b", np.zeros((7, 2), np.float32)))
        assert headline(PageData("t", (Network("net", panels),))) == "7 samples through 2 layers of net."

    def test_best_layers_are_named_with_their_measures(self):
        Z = np.zeros((4, 2), np.float32)
        purities, probes = (0.5, 0.9, 0.95), (0.7, 0.97, 0.96)
        panels = [
            Panel(f"l{k}", Z, purity=purity, probe_accuracy=probe)
            for k, (purity, probe) in enumerate(zip(purities, probes, strict=True))
        ]
        network = Network("net", tuple(panels))
        data = PageData("t", (network,), input_panel=Panel("input", Z, purity=0.99))
        assert summaries.best_layers(data, network) == "best by probe: l1 (97.0%), by purity: l2 (95.0%)"
        assert summaries.best_layer(data, network) is panels[1]
        alike = Network("net", tuple(panels[:2]))
        assert summaries.best_layers(data, alike) == "best by probe and purity: l1 (97.0%, 90.0%)"
        assert summaries.best_layers(data, Network("net", (Panel("l0", Z), Panel("l1", Z)))) == ""


class TestColumns:
    @pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.uint32, np.float32])
    def test_a_column_unpacks_to_the_same_numbers(self, dtype):
        values = np.arange(24).reshape(4, 6).astype(dtype)
        packed = column(values)
        np.testing.assert_array_equal(unpacked(**packed), values)

    @pytest.mark.parametrize(
        ("n", "dtype"), [(255, np.uint8), (256, np.uint16), (65_535, np.uint16), (65_536, np.uint32)]
    )
    def test_row_numbers_take_the_smallest_type_that_holds_them(self, n, dtype):
        assert rows(np.array([0, n - 1]), n).dtype == dtype
        assert rows(np.array([0, n - 1]), n).tolist() == [0, n - 1]

    def test_shares_are_kept_to_four_digits_and_nan_is_nothing(self):
        np.testing.assert_allclose(share(np.array([0, 0.12345, 1])) / 65535, [0, 0.12345, 1], atol=1e-5)
        assert share(np.array([np.nan])).tolist() == [0]

    def test_the_file_holds_the_data_by_the_samples_own_rows(self, data, page):
        np.testing.assert_array_equal(column_of(page.html, "pixels"), thumbnails(data.images))
        np.testing.assert_array_equal(column_of(page.html, "target"), data.targets)
        for k, panel in enumerate(data.panels):
            np.testing.assert_array_equal(column_of(page.html, f"near-{k}"), panel.neighbors)
        for k, network in enumerate(data.networks):
            np.testing.assert_array_equal(column_of(page.html, f"top-{k}")[:, 0], network.predictions)


class TestThumbnails:
    def test_small_pictures_keep_every_pixel(self):
        images = np.random.default_rng(0).uniform(size=(5, 3, 32, 20)).astype(np.float32)
        np.testing.assert_array_equal(thumbnails(images), np.rint(images * 255).transpose(0, 2, 3, 1).astype(np.uint8))

    def test_bytes_pass_through_and_grey_needs_no_channel_axis(self):
        images = np.random.default_rng(0).integers(0, 256, (5, 8, 8), dtype=np.uint8)
        np.testing.assert_array_equal(thumbnails(images)[..., 0], images)

    def test_large_pictures_are_shrunk_to_their_area_means(self):
        images = np.zeros((2, 1, 128, 256), np.float32)
        images[:, :, :, 128:] = 1
        small = thumbnails(images)
        assert small.shape == (2, 32, 64, 1)
        assert (small[:, :, :32] == 0).all()
        assert (small[:, :, 32:] == 255).all()

    def test_many_pictures_stay_within_the_budget(self):
        assert thumbnails(np.zeros((20_000, 3, 64, 64), np.uint8)).nbytes <= 1.1 * BUDGET

    def test_pictures_of_different_sizes_are_centred_in_one_square(self):
        block = thumbnails([np.ones((1, 10, 4), np.float32), np.ones((3, 6, 10), np.float32)])
        assert block.shape == (2, 10, 10, 3)
        assert block[0, :, 3:7].min() == 255
        assert block[0, :, :3].max() == 0
        assert block[1, 2:8].min() == 255

    def test_values_outside_zero_to_one_are_clipped_and_nan_is_black(self):
        images = np.array([-1, np.nan, 2, 0.5], np.float32).reshape(1, 1, 2, 2)
        assert thumbnails(images).ravel().tolist() == [0, 0, 255, 128]

    def test_other_channels_are_refused_by_number(self):
        with pytest.raises(PageError, match=r"\(2, 5, 8, 8\).*1, 3 or 4 channels"):
            thumbnails(np.zeros((2, 5, 8, 8)))


class TestPanels:
    def test_drawing_order_is_shuffled_with_the_errors_on_top(self, data):
        order = drawing_order(data)
        assert sorted(order) == list(range(300))
        assert set(order[-25:]) == set(range(25))
        assert np.abs(np.diff(order[:-25])).mean() > 30

    def test_ranges_are_square_and_hold_all_points(self):
        Z = np.array([[0, 0], [4, 1], [np.nan, 9]], np.float32)
        x, y = square_ranges(Z)
        assert x[1] - x[0] == pytest.approx(y[1] - y[0])
        assert x[0] < 0
        assert x[1] > 4
        assert y[0] < 0
        assert y[1] > 1

    def test_names_stand_at_the_medians_of_their_classes(self, data):
        Z = data.panels[-1].Z
        centres = class_centres(data, Z)
        assert centres["text"] == [str(code) for code in range(10)]
        np.testing.assert_allclose(centres["x"][3], np.median(Z[data.targets == 3, 0]), atol=1e-6)

    def test_no_name_stands_on_the_only_points_of_its_class(self):
        few = page_data(n=40, n_classes=2, targets=np.array([0, 0] + [1] * 38))
        assert np.isnan(class_centres(few, few.panels[0].Z)["x"]).tolist() == [True, False]

    def test_twenty_one_names_are_too_many_for_the_plane(self):
        many = page_data(n=100, n_classes=21)
        assert class_centres(many, many.panels[0].Z)["text"] == []

    @pytest.mark.parametrize("count", [1, 2, 10, 11, 200])
    def test_every_class_has_a_colour_of_its_own(self, count):
        colors = class_colors(count)
        assert len(set(colors)) == count
        assert all(re.fullmatch("#[0-9a-f]{6}", color) for color in colors)

    def test_given_colours_come_first(self, data):
        own = replace(data, class_colors=("#123456", "#ABCDEF"))
        assert own.colors_of_classes == ["#123456", "#ABCDEF", *class_colors(10)[2:]]
        assert meta(own, subsets(own))["colors"] == own.colors_of_classes


class TestSampling:
    def test_few_enough_samples_are_left_as_they_are(self, data):
        assert thinned(data, 300) is data

    def test_a_part_keeps_errors_and_corner_cases_and_says_so(self, data):
        late = (*data.corner_cases, Case("changes at the end", 299, 0.5, "flips"))
        part = thinned(replace(data, corner_cases=late), 60)
        kept = [int(name) for name in part.ids]
        assert len(kept) == part.n_samples == 60
        assert set(range(25)) | {299} <= set(kept)
        assert "60 of 300 samples" in part.notes[-1]
        np.testing.assert_array_equal(part.images, data.images[kept])
        np.testing.assert_array_equal(part.networks[1].probabilities, data.networks[1].probabilities[kept])
        np.testing.assert_array_equal(part.panels[2].Z, data.panels[2].Z[kept])
        assert [kept[case.sample] for case in part.corner_cases] == [case.sample for case in late]

    def test_errors_stay_even_where_they_are_too_many(self, data):
        assert thinned(data, 10).n_samples == 25

    def test_accuracies_stay_those_of_all_samples(self, data):
        part = thinned(data, 60)
        for before, after in zip(data.networks, part.networks, strict=True):
            assert after.accuracy(part.targets) == before.accuracy(data.targets)
            assert np.mean(after.predictions == part.targets) < before.accuracy(data.targets)

    def test_the_headline_counts_all_samples_not_those_shown(self, data):
        one = thinned(replace(data, networks=data.networks[:1]), 60)
        assert headline(one) == "net A classifies 280 of 300 correctly; 20 are wrong."
        unlabelled = thinned(replace(data, targets=None, corner_cases=()), 60)
        assert headline(unlabelled) == "net A and net B differ on 20 of 300 samples."
        assert [subset.count for subset in subsets(unlabelled)] == [20]
        assert "with all on which the networks differ" in unlabelled.notes[-1]

    def test_a_part_without_answers_is_said_to_be_drawn_at_random(self, data):
        bare = tuple(replace(network, probabilities=None) for network in data.networks)
        part = thinned(replace(data, targets=None, corner_cases=(), networks=bare), 60)
        assert "60 of 300 samples (drawn at random" in part.notes[-1]

    def test_journeys_need_all_the_neighbours_that_they_name(self, data):
        part = thinned(data, 60)
        assert all(panel.neighbors is None for panel in part.panels)
        assert "no journeys, which need all samples" in part.notes[-1]

    def test_neighbours_among_the_shown_stay_and_are_said_to_be_those(self, data):
        rows = shown_rows(data, 60)
        near = data.input_panel.neighbors.copy()
        near[rows] = rows[nearest(data.input_panel.Z[rows])]
        part = thinned(replace(data, input_panel=replace(data.input_panel, neighbors=near)), 60)
        np.testing.assert_array_equal(part.input_panel.neighbors, nearest(part.input_panel.Z))
        assert part.networks[0].panels[0].neighbors is None  # whose neighbours are those among all
        assert "neighbours and their votes are those among the samples shown" in part.notes[-1]
        assert "the queue and its reasons use the neighbours among all samples" in part.notes[-1]

    def test_the_rows_shown_are_those_of_the_part(self, data):
        part = thinned(data, 60)
        assert [int(name) for name in part.ids] == shown_rows(data, 60).tolist()
        assert shown_rows(data, 300).tolist() == list(range(300))

    def test_the_page_shows_the_notice(self, data):
        assert "Shown: 60 of 300 samples" in build_page(data, max_samples=60).html


class TestChecks:
    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"networks": ()}, "one to 12 networks, not 0"),
            ({"targets": np.zeros(7, int)}, "targets: 7 entries for 300"),
            ({"images": np.zeros((299, 1, 8, 8))}, "images: 299 entries for 300"),
            ({"class_colors": ("red;}</style>",)}, "#rrggbb"),
            ({"ids": ["a"]}, "ids: 1 entries for 300"),
            ({"targets": np.full(300, -2)}, "-2 is negative"),
            ({"input_panel": Panel("input", np.zeros((300, 3), np.float32))}, r"'input'.*\(300, 3\)"),
            ({"networks": (Network("n", (), np.zeros((4, 10))),)}, "probabilities of 'n'"),
            ({"corner_cases": (Case("k", 300, 1.0, ""),)}, "sample 300"),
            (
                {"networks": (Network("n", (Panel("p", np.zeros((300, 2)), np.full((300, 8), 300)),)),)},
                "300..300 of 300",
            ),
        ],
    )
    def test_parts_that_do_not_fit_are_named_with_both_numbers(self, data, change, message):
        with pytest.raises(PageError, match=message):
            build_page(replace(data, **change))


class TestFile:
    def test_save_writes_the_file_and_leaves_nothing_beside_it(self, page, tmp_path):
        path = page.save(tmp_path / "new" / "page.html")
        assert path.read_text(encoding="utf-8") == page.html
        assert [entry.name for entry in path.parent.iterdir()] == ["page.html"]

    def test_a_folder_in_the_way_is_an_error_that_leaves_no_part(self, page, tmp_path):
        (tmp_path / "page.html").mkdir()
        with pytest.raises(PageError, match=r"cannot write .*page\.html") as caught:
            page.save(tmp_path / "page.html")
        assert isinstance(caught.value, TorchvizLayersError)
        assert [entry.name for entry in tmp_path.iterdir()] == ["page.html"]

    def test_a_folder_that_may_not_be_written_is_an_error(self, page, tmp_path):
        (tmp_path / "file").write_text("not a folder")
        with pytest.raises(PageError, match="choose a folder"):
            page.save(tmp_path / "file" / "page.html")

    def test_a_saved_page_can_be_read_by_others(self, page, tmp_path):
        assert stat.S_IMODE(page.save(tmp_path / "page.html").stat().st_mode) & stat.S_IRGRP

    def test_the_library_that_draws_is_packed_in_the_page_with_its_licence(self, page):
        license_, packed = re.search(
            r'<script>([^<]*)</script>\n<script type="text/plain" id="bokeh">(.*?)<', page.html, re.S
        ).groups()
        script = zlib.decompress(base64.b64decode(packed)).decode()
        assert "Bokeh" in script
        assert "Redistribution and use" in license_
        assert license_ in script
        assert len(page.html) < 0.8e6

    def test_the_same_data_make_the_same_columns(self, data, page):
        def packed(html: str) -> list[str]:
            return re.findall(r"data-column=[^\n]*", html)

        assert packed(build_page(data).html) == packed(page.html)

    def test_names_stay_text_in_the_file(self, data):
        payload = "</script><script>window.hacked = 1</script>"
        html = build_page(replace(data, title=payload, class_names=(payload,) * 10, notes=(payload,))).html
        assert payload not in html

    def test_no_address_outside_the_file_is_loaded(self, page):
        ours = page.html[: page.html.index('<script type="application/json" id="meta">')]
        assert re.findall(r'(?:src|href)\s*=\s*["\']?(?!data:)[^"\'>\s]+', ours) == []
        assert "@import" not in ours
        assert "url(" not in ours

    def test_a_notebook_gets_a_frame_that_holds_the_whole_page(self, page):
        import html

        frame = page._repr_html_()
        assert frame.startswith("<iframe srcdoc=")
        source = re.match(r'<iframe srcdoc="([^"]*)"', frame).group(1)
        assert html.unescape(source) == page.html

    def test_nan_scores_and_measures_are_left_out(self, data):
        panel = replace(data.networks[0].panels[0], purity=float("nan"))
        changed = replace(data, networks=(replace(data.networks[0], panels=(panel,)),))
        changed = replace(changed, corner_cases=(Case("k", 1, float("nan"), "r"),))
        described = meta(changed, subsets(changed))
        assert described["panels"][1]["purity"] is None
        assert described["cases"][0]["score"] is None
        build_page(changed)


class TestOtherTools:
    def test_a_frame_has_one_row_a_sample_and_every_layer(self, data, page):
        frame = page.to_frame()
        assert len(frame) == 300
        assert frame["id"].tolist() == list(range(300))
        assert frame["truth"].tolist() == [str(target) for target in data.targets]
        for network in data.networks:
            assert frame[f"{network.name} prediction"].tolist() == [str(code) for code in network.predictions]
            for panel in network.panels:
                found = frame[[f"{network.name}/{panel.layer} x", f"{network.name}/{panel.layer} y"]].to_numpy()
                np.testing.assert_array_equal(found, panel.Z)
        assert set(frame["net A neighbours right from"]) <= {"input", "dense_0", "dense_1", "not at the end"}

    def test_parquet_holds_the_frame_and_the_pictures(self, data, page, tmp_path):
        import pandas as pd

        frame = pd.read_parquet(page.save_parquet(tmp_path / "page.parquet"))
        pd.testing.assert_frame_equal(frame.drop(columns="image"), page.to_frame(), check_dtype=False)
        picture = np.asarray(Image.open(io.BytesIO(frame["image"][7]["bytes"])))
        np.testing.assert_array_equal(picture, thumbnails(data.images)[7, ..., 0])

    def test_photographs_in_parquet_are_as_large_as_on_the_page(self, tmp_path):
        import pandas as pd

        images = photographs(300, 128)
        frame = pd.read_parquet(build_page(page_data(images=images)).save_parquet(tmp_path / "page.parquet"))
        picture = np.asarray(Image.open(io.BytesIO(frame["image"][290]["bytes"])))
        np.testing.assert_array_equal(picture, np.moveaxis(images[290], 0, -1))

    def test_a_folder_that_cannot_be_written_is_a_page_error(self, page, tmp_path):
        (tmp_path / "file").write_text("")
        with pytest.raises(PageError, match="cannot write"):
            page.save_parquet(tmp_path / "file" / "page.parquet")


class TestPlot:
    def test_photographs_are_files_of_their_own_size_and_drawings_keep_their_pixels(self):
        def shown(images):
            plot = plot_embedding(np.zeros((len(images), 2)), images=images)
            return next(tool for tool in plot.figure.tools if hasattr(tool, "formatters")).formatters["@sample"].args

        url = shown(photographs(40, 224))["files"][7]
        with Image.open(io.BytesIO(base64.b64decode(url.split(",")[1]))) as picture:
            assert picture.size == (224, 224)
            found = np.asarray(picture.convert("RGB"))[100:130, 100:130].mean(axis=(0, 1))
        np.testing.assert_allclose(found, photographs(40, 224)[7, :, 100:130, 100:130].mean(axis=(1, 2)), atol=4)
        drawing = np.eye(9, dtype=np.float32)[None].repeat(3, axis=0)
        np.testing.assert_array_equal(shown(drawing)["pixels"][..., 0], drawing * 255)

    def test_the_figure_holds_the_embedding_in_the_samples_own_rows(self):
        Z = np.random.default_rng(0).normal(size=(50, 2)).astype(np.float32)
        predictions = np.arange(50) % 10
        plot = plot_embedding(Z, predictions=predictions, title="a title")
        source = plot.figure.renderers[0].data_source
        order = source.data["sample"]
        np.testing.assert_array_equal(source.data["x"], Z[order, 0])
        np.testing.assert_array_equal(source.data["code"], predictions[order])
        assert plot.figure.title.text == "a title"

    def test_wrong_predictions_are_drawn_as_crosses(self):
        targets = np.zeros(20, int)
        predictions = targets.copy()
        predictions[[3, 7]] = 1
        plot = plot_embedding(np.random.default_rng(0).normal(size=(20, 2)), None, predictions, targets)
        dots, crosses = plot.figure.renderers[:2]
        order = dots.data_source.data["sample"]
        assert crosses.glyph.marker == "x"
        assert set(order[crosses.view.filter.indices]) == {3, 7}
        assert len(dots.view.filter.indices) == 18

    def test_probabilities_are_predictions_too(self):
        outputs = np.eye(3)[[2, 0, 1]]
        plot = plot_embedding(np.zeros((3, 2)), predictions=outputs)
        source = plot.figure.renderers[0].data_source
        assert source.data["code"][np.argsort(source.data["sample"])].tolist() == [2, 0, 1]

    def test_it_has_the_notebooks_tools(self):
        figure = plot_embedding(np.zeros((3, 2))).figure
        assert {"PanTool", "WheelZoomTool", "ResetTool", "HoverTool"} <= {type(tool).__name__ for tool in figure.tools}

    def test_it_is_saved_as_one_file(self, tmp_path):
        path = plot_embedding(np.zeros((3, 2)), np.zeros((3, 1, 8, 8)), title="<b>&").save(tmp_path / "plot.html")
        text = path.read_text(encoding="utf-8")
        assert not re.search(r'<(?:script|link)[^>]+(?:src|href)=["\']?http', text)
        assert "<title>&lt;b&gt;&amp;</title>" in text

    def test_arrays_that_do_not_fit_are_refused(self):
        with pytest.raises(PageError, match="targets: 2 entries for 3"):
            plot_embedding(np.zeros((3, 2)), targets=np.zeros(2))
        with pytest.raises(PageError, match=r"\(3, 3\)"):
            plot_embedding(np.zeros((3, 3)))

    def test_fractions_are_a_scale_of_colours_and_never_truncated(self):
        targets = np.linspace(0.25, 9.75, 40)
        figure = plot_embedding(np.random.default_rng(0).normal(size=(40, 2)), targets=targets).figure
        source = figure.renderers[0].data_source
        np.testing.assert_allclose(source.data["code"], targets[source.data["sample"]], rtol=1e-6)
        mapper = figure.renderers[0].glyph.fill_color.transform
        assert (mapper.low, mapper.high, len(mapper.palette)) == (0.25, 9.75, 256)
        assert [type(item).__name__ for item in figure.right].count("ColorBar") == 1
        hover = next(tool for tool in figure.tools if type(tool).__name__ == "HoverTool")
        np.testing.assert_array_equal(hover.formatters["@label"].args["values"], targets)

    def test_values_follow_their_samples_where_a_part_is_shown(self, monkeypatch):
        monkeypatch.setattr("torchviz_layers.page.plot.MAX_SAMPLES", 30)
        Z = np.random.default_rng(0).normal(size=(100, 2)).astype(np.float32)
        source = plot_embedding(Z, targets=Z[:, 0]).figure.renderers[0].data_source
        assert len(source.data["x"]) == 30
        np.testing.assert_allclose(source.data["code"], source.data["x"])

    @pytest.mark.parametrize(
        ("targets", "names", "codes"),
        [
            ([0.5, 1.5, 0.5], ("0.5", "1.5"), [0, 1, 0]),
            (["dog", "cat", "dog"], ("cat", "dog"), [1, 0, 1]),
            (np.array(["b", "a", "b"], object), ("a", "b"), [1, 0, 1]),
            ([2.0, 0.0, 1.0], ("0", "1", "2"), [2, 0, 1]),
            ([True, False, True], ("0", "1"), [1, 0, 1]),
            (np.array([[1], [0], [1]]), ("0", "1"), [1, 0, 1]),
        ],
    )
    def test_few_fractions_and_text_are_names(self, targets, names, codes):
        figure = plot_embedding(np.eye(3, 2), targets=targets).figure
        source = figure.renderers[0].data_source
        assert source.data["code"][np.argsort(source.data["sample"])].tolist() == codes
        hover = next(tool for tool in figure.tools if type(tool).__name__ == "HoverTool")
        assert tuple(hover.formatters["@label"].args["names"]) == names

    def test_text_is_compared_in_the_order_of_the_class_names(self):
        scores = np.array([[0.9, 0.1], [0.2, 0.8], [0.7, 0.3]])
        names = ["dog", "cat"]
        plot = plot_embedding(np.eye(3, 2), predictions=scores, targets=["dog", "cat", "cat"], class_names=names)
        dots, crosses = plot.figure.renderers[:2]
        assert dots.data_source.data["sample"][crosses.view.filter.indices].tolist() == [2]

    def test_one_probability_a_sample_is_that_of_the_second_class(self):
        source = plot_embedding(np.eye(3, 2), predictions=[[0.1], [0.9], [0.6]]).figure.renderers[0].data_source
        assert source.data["code"][np.argsort(source.data["sample"])].tolist() == [0, 1, 1]

    @pytest.mark.parametrize(
        ("labels", "message"),
        [
            ({"targets": [0.5, np.nan, 1]}, "targets: 1 of 3 are NaN or infinite"),
            (
                {"targets": [0, 1, 0.5], "predictions": [0, 1, 1]},
                "fractions are not classes, so predictions cannot be compared",
            ),
            ({"predictions": [0.2, 0.9, 0.4]}, r"pass np\.stack\(\[1 - p, p\], axis=1\)"),
            ({"predictions": [[2.0], [0.1], [0.3]]}, "one column from 0.1 to 2, which is not a probability"),
            ({"predictions": [-1, 0, 1]}, "predictions: -1 is negative"),
            ({"targets": ["a", "b", "a"], "predictions": [0, 1, 0]}, "class_names: needed"),
            ({"targets": ["a", "b", "c"], "class_names": ["a", "b"]}, "class_names: 'c' is a label but none of a, b"),
            ({"targets": np.zeros((3, 4))}, r"targets: float64 of shape \(3, 4\)"),
            ({"targets": np.linspace(0, 1.5, 20)}, "targets: 20 entries for 3 samples"),
        ],
    )
    def test_labels_that_are_neither_classes_nor_values_are_refused(self, labels, message):
        with pytest.raises(PageError, match=message):
            plot_embedding(np.eye(3, 2), **labels)


def test_a_suspect_of_several_labels_has_a_probability_and_no_class():
    suspects = [
        CornerCase("label suspect", 3, 2.0, "not labelled hat", probability=0.71239),
        CornerCase("label suspect", 4, 1.0, "labelled 9", probability=0.5, proposed=4),
        CornerCase("isolated", 5, 1.0, "alone"),
    ]
    listed = listed_cases(page_data(corner_cases=suspects))
    assert [case.get("probability") for case in listed] == [0.7124, 0.5, None]
    assert [case.get("proposed") for case in listed] == [None, 4, None]
