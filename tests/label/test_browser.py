"""The page in a real browser: Debian's chromium, headless, driven by selenium; the server is a thread here."""

import errno
import re
import shutil
import statistics
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import uvicorn
from selenium import webdriver
from selenium.common.exceptions import NoSuchElementException, StaleElementReferenceException
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webelement import WebElement

from hsi_al.active.parts import build_scene
from hsi_al.errors import SceneError
from hsi_al.label.background import Background
from hsi_al.label.guard import Guard
from hsi_al.label.running import configuration, listening_socket, opened
from hsi_al.label.server import build_app

CHROMIUM, CHROMEDRIVER = shutil.which("chromium"), shutil.which("chromedriver")
pytestmark = [
    pytest.mark.slow,  # a browser takes two seconds to start; all tests of this file share one
    pytest.mark.skipif(
        CHROMIUM is None or CHROMEDRIVER is None, reason="needs Debian's packages chromium and chromium-driver"
    ),
]
HEIGHT, WIDTH, BANDS = 48, 60, 16
TRUTH = np.repeat([1, 2, 3], 20)[None, :].repeat(HEIGHT, axis=0)  # three fields side by side


@pytest.fixture(scope="module")
def cube(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("scene") / "fields.h5"
    rng = np.random.default_rng(0)
    means = np.array([np.linspace(200, 900, BANDS), np.linspace(900, 200, BANDS), np.full(BANDS, 500)])
    with h5py.File(path, "w") as file:
        file["cube"] = means[TRUTH - 1] + rng.normal(0, 20, (HEIGHT, WIDTH, BANDS))
    return path


class Serving:
    """A session with its server, which can go and come back at the same port."""

    def __init__(self, folder: Path, cube: Path, classes: list[str]) -> None:
        self.folder, self.cube, self.classes = folder, cube, classes
        self.port, self.token = 0, "first"
        self.start()

    def start(self) -> None:
        config = configuration(str(self.cube), ["protocol.query_size=2", "protocol.initial_size=6"])
        scene = build_scene(config)
        self.stack = ExitStack()
        self.session = self.stack.enter_context(opened(self.folder, scene, config, self.classes, "me"))
        bound = self.stack.enter_context(listening_socket(self.port))
        self.port = bound.getsockname()[1]
        self.background = Background(self.session)
        self.app = build_app(self.session)
        app: Any = Guard(self.app, self.port, self.token)
        self.server = uvicorn.Server(uvicorn.Config(app, log_level="error", lifespan="off"))
        self.thread = threading.Thread(target=self.server.run, kwargs={"sockets": [bound]}, daemon=True)
        self.thread.start()
        self.background.start()

    def stop(self) -> None:
        self.server.should_exit = self.server.force_exit = True
        self.thread.join(10)
        self.background.close()
        self.stack.close()

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}/?token={self.token}"


class Page:
    """What tests do with the page."""

    def __init__(self, driver: webdriver.Chrome, serving: Serving) -> None:
        self.driver, self.serving = driver, serving

    def open(self) -> None:
        self.driver.get(self.serving.address)
        self.until(lambda: self.text("status") != "Starting …")

    def find(self, testid: str) -> WebElement:
        return self.driver.find_element(By.CSS_SELECTOR, f'[data-testid="{testid}"]')

    def text(self, testid: str) -> str:
        return self.find(testid).text

    def until(self, condition: Callable[..., Any], *given: Any) -> None:
        """Wait until a condition on these arguments holds, 8 seconds at most."""
        end = time.monotonic() + 8
        while True:
            try:
                if condition(*given):
                    return
            except (NoSuchElementException, StaleElementReferenceException):
                pass
            assert time.monotonic() < end, f"{self.text('status')} | {self.text('alerts')}"
            time.sleep(0.03)

    def keys(self, *keys: str) -> None:
        ActionChains(self.driver, duration=0).send_keys(*keys).perform()

    def chord(self, modifier: str, key: str) -> None:
        ActionChains(self.driver, duration=0).key_down(modifier).send_keys(key).key_up(modifier).perform()

    def asked(self) -> int:
        """The pixel that a key would answer, once there is one."""
        found = [""]

        def there() -> str:
            found[0] = self.find("query").get_attribute("data-pixel-id") or ""
            return found[0]

        self.until(there)
        return int(found[0])

    def given(self) -> dict[int, int | None]:
        """What the session holds."""
        with self.serving.session.lock:
            return {pixel: answer.value for pixel, answer in self.serving.session.answers.given.items()}

    def answer(self, key: str | None = None) -> int:
        """Press a key, by default that of the true class, and wait for the next question."""
        pixel = self.asked()
        self.keys(key or str(TRUTH.ravel()[pixel]))
        self.until(lambda: pixel in self.given() and self.asked() != pixel)
        return pixel

    def log(self) -> Any:
        """What the browser has complained about since the last call."""
        driver: Any = self.driver
        return driver.get_log("browser")

    def click(self, row: float, column: float) -> None:
        """Click a place of the scene."""
        scene = self.find("scene")
        left, top, scale = (float(scene.get_attribute(f"data-{name}") or "") for name in ("left", "top", "scale"))
        x = (column - left) * scale - scene.size["width"] / 2
        y = (row - top) * scale - scene.size["height"] / 2
        ActionChains(self.driver, duration=0).move_to_element_with_offset(scene, round(x), round(y)).click().perform()

    def press(self, key: str, code: str = "", **more: bool) -> bool:
        """Let a script press a key in the scene, and return whether the page takes it."""
        script = """
          const event = new KeyboardEvent("keydown", { ...arguments[1], bubbles: true, cancelable: true });
          return !arguments[0].dispatchEvent(event);
        """
        return bool(self.driver.execute_script(script, self.find("scene"), {"key": key, "code": code, **more}))

    def size(self, width: int, height: int, dense: float = 1) -> None:
        given = {"width": width, "height": height, "deviceScaleFactor": dense, "mobile": False}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", given)


@pytest.fixture(scope="module")
def driver() -> Iterator[webdriver.Chrome]:
    options = webdriver.ChromeOptions()
    options.binary_location = str(CHROMIUM)
    for argument in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    found = webdriver.Chrome(options=options, service=Service(str(CHROMEDRIVER)))
    try:
        yield found
    finally:
        found.quit()


@pytest.fixture
def make(driver: webdriver.Chrome, cube: Path, tmp_path: Path) -> Iterator[Callable[..., Page]]:
    serving: list[Serving] = []

    def made(*classes: str) -> Page:
        serving.append(Serving(tmp_path / "session", cube, list(classes)))
        page = Page(driver, serving[0])
        page.size(1280, 720)
        page.open()
        return page

    yield made
    driver.get("about:blank")
    for one in serving:
        one.stop()


@pytest.fixture
def large(tmp_path: Path) -> Path:
    """A scene of four tiles whose first band says the column and whose second says the row."""
    path = tmp_path / "large.h5"
    rows, columns = np.mgrid[:270, :300]
    with h5py.File(path, "w") as file:
        file["cube"] = np.stack([columns, rows, (rows + columns) % 7, rows * 0 + 1], axis=2).astype(np.float32)
    return path


@pytest.fixture
def page(make: Callable[..., Page]) -> Page:
    return make("corn", "oats", "wood")


def test_keyboard_alone_from_an_empty_start_to_a_map_that_is_right(make: Callable[..., Page]) -> None:
    page = make()
    assert page.find("first").is_displayed()  # what to do is said, and the field for it has the focus
    for name in ("maize 1", "oats", "wood 3"):
        page.keys(name, Keys.ENTER)  # digits in a name are no answers
        page.until(lambda name: name in page.find("add-class").find_element(By.XPATH, "../..").text, name)
    assert not page.find("first").is_displayed()
    page.keys(Keys.ESCAPE)  # from the field to the scene
    skipped = page.answer("0")
    for _ in range(9):
        page.answer()
    given = page.given()
    assert given.pop(skipped) is None
    assert {pixel: int(TRUTH.ravel()[pixel]) for pixel in given} == given
    assert len(given) == 9
    page.until(lambda: page.serving.session.map is not None)
    page.until(lambda: "9 + 1 can" in page.text("progress"))
    found = page.serving.session.map
    assert found is not None
    assert (found.classes == TRUTH.ravel()).mean() > 0.95

    last = list(given)[-1]
    page.keys(Keys.BACKSPACE)
    page.until(lambda: last not in page.given())
    page.chord(Keys.SHIFT, Keys.BACKSPACE)
    page.until(lambda: last in page.given())
    page.chord(Keys.CONTROL, "z")
    page.until(lambda: last not in page.given())
    page.chord(Keys.CONTROL, "y")
    page.until(lambda: last in page.given())

    page.keys("?")
    assert "Polygon" in page.text("help-text")
    page.keys("1")  # under the help no key answers
    page.keys(Keys.ESCAPE)
    page.keys("7")  # no class has it
    page.until(lambda: page.text("status") == "No class has the key 7.")
    assert len(page.given()) == 10


def test_arrow_keys_choose_a_pixel_and_corners_of_a_shape(page: Page) -> None:
    row, column = divmod(page.asked(), WIDTH)
    down, right = (1 if row < HEIGHT - 13 else -1), (1 if column < WIDTH - 13 else -1)
    vertical, horizontal = (
        (Keys.ARROW_DOWN if down > 0 else Keys.ARROW_UP),
        (Keys.ARROW_RIGHT if right > 0 else Keys.ARROW_LEFT),
    )
    page.keys(vertical)
    page.chord(Keys.SHIFT, horizontal)
    chosen = (row + down) * WIDTH + column + 10 * right
    assert page.asked() == chosen
    page.keys("2")
    page.until(lambda: page.given() == {chosen: 2})
    page.until(lambda: page.asked() == row * WIDTH + column)  # back at the asked pixel

    page.keys(",", Keys.ENTER, *[vertical] * 4, Keys.ENTER, *[horizontal] * 6, Keys.ENTER, "3")
    # Corners are centres of pixels: a right triangle with sides of 4 and 6; its edges are left aside.
    page.until(lambda: len(page.given()) > 1)
    inside = {(row + down * i) * WIDTH + column + right * j for i in range(1, 4) for j in range(1, 6) if 6 * i > 4 * j}
    shape = {pixel for pixel, value in page.given().items() if value == 3}
    assert inside <= shape
    assert len(shape) <= 6 * 8 / 2
    page.keys(Keys.BACKSPACE)  # one step for the whole shape
    page.until(lambda: page.given() == {chosen: 2})


def test_mouse_alone(page: Page) -> None:
    page.asked()
    page.click(10.5, 47.5)
    assert page.asked() == 10 * WIDTH + 47
    assert page.text("query") == "row 10, column 47"
    page.find("class-1").click()
    page.until(lambda: page.given() == {10 * WIDTH + 47: 1})
    page.until(lambda: page.find(f"label-{10 * WIDTH + 47}"))
    page.find(f"label-{10 * WIDTH + 47}").click()  # go back to it and change it
    page.until(lambda: page.asked() == 10 * WIDTH + 47)
    page.until(lambda: "Your label: corn." in page.text("guess"))
    page.find("class-3").click()
    page.until(lambda: page.given() == {10 * WIDTH + 47: 3})
    page.find("undo").click()
    page.until(lambda: page.given() == {10 * WIDTH + 47: 1})
    page.until(lambda: page.find("redo").is_enabled())
    page.find("redo").click()
    page.until(lambda: page.given() == {10 * WIDTH + 47: 3})

    page.find("polygon").click()
    for row, column in ((20.2, 5.3), (20.2, 9.7), (24.8, 9.7), (24.8, 5.3)):
        page.click(row, column)
    page.find("class-1").click()
    block = {row * WIDTH + column for row in range(20, 25) for column in range(5, 10)}
    page.until(lambda: len(page.given()) > 1)
    found = {pixel for pixel, value in page.given().items() if value == 1}
    assert len(found ^ block) <= 5 + 5  # a click lies on whole screen pixels: at most one row and one column differ

    page.find("edit-2").click()
    page.find("edit-key").clear()
    page.find("edit-key").send_keys("3")
    page.find("save-class").click()  # refused where it can be changed
    assert page.find("edit-key").get_property("validationMessage") == "This key belongs to wood."
    page.find("edit-name").clear()
    page.find("edit-name").send_keys("corn")
    assert page.find("edit-name").get_property("validationMessage") == "There is a class of this name already."
    page.find("edit-name").clear()
    page.find("edit-name").send_keys("barley")
    page.find("edit-key").clear()
    page.find("edit-key").send_keys("b")
    page.find("save-class").click()
    page.until(lambda: "barley" in page.text("class-2"))
    asked = page.asked()
    page.keys("b")
    page.until(lambda: page.given().get(asked) == 2)


def test_next_pixel_is_there_at_once_and_a_held_key_answers_one(page: Page) -> None:
    page.driver.execute_script("performance.clearMeasures('answer')")
    for _ in range(8):
        page.answer()
    script = "return performance.getEntriesByName('answer').map((one) => one.duration)"
    page.until(lambda: len(page.driver.execute_script(script)) == 8)
    times = page.driver.execute_script(script)
    print(f"key to next pixel: {statistics.median(times):.0f} ms (median), {max(times):.0f} ms (most)")
    assert min(times) < 150  # the rest of the machine may be busy

    before, pixel = len(page.given()), page.asked()
    held = {"type": "keyDown", "key": "1", "text": "1", "autoRepeat": True}
    page.driver.execute_cdp_cmd("Input.dispatchKeyEvent", held)
    time.sleep(0.3)
    assert page.asked() == pixel
    assert len(page.given()) == before
    # Nor does Enter on the button of a class, or Ctrl + Z, which would take all back.
    assert page.press("Enter", repeat=True) and page.press("z", ctrlKey=True, repeat=True)
    assert not page.press("Enter")
    time.sleep(0.3)
    assert len(page.given()) == before


def test_keys_of_layouts_without_digits_or_latin_letters(make: Callable[..., Page]) -> None:
    page = make("corn", "oats")
    page.serving.session.add_class("wood", "a")
    page.until(lambda: page.find("class-3"))
    before = page.find("scene").get_attribute("data-scale")
    for key, code, value in (("é", "Digit2", 2), ("&", "Digit1", 1), ("ф", "KeyA", 3)):  # French, Russian
        pixel = page.asked()
        assert page.press(key, code)
        page.until(lambda pixel, value: page.given().get(pixel) == value and page.asked() != pixel, pixel, value)
    pixel = page.asked()
    assert page.press("-", "Digit6")  # French again: no class has 6, and the view stays
    assert page.text("status") == "No class has the key 6."
    assert page.find("scene").get_attribute("data-scale") == before
    for key, code in (("ö", "Semicolon"), ("ğ", "KeyG"), ("²", "Digit2"), ("€", "KeyE")):  # what they give elsewhere
        assert not page.press(key, code)
    assert page.press("я", "KeyZ", ctrlKey=True)
    page.until(lambda: len(page.given()) == 2)


def test_double_click_answers_one_pixel_and_two_clicks_two(page: Page) -> None:
    def click(number: int) -> None:
        """As a hand does: the browser is told which click of several this is."""
        box = page.find("class-1").rect
        place = {"x": box["x"] + 9, "y": box["y"] + 9, "button": "left", "clickCount": number}
        for kind in ("mousePressed", "mouseReleased"):
            page.driver.execute_cdp_cmd("Input.dispatchMouseEvent", {"type": kind, **place})

    script = """
      const [button, done] = arguments;
      const clicks = [1, 2].map((detail) => new MouseEvent("click", { detail, bubbles: true }));
      const query = document.querySelector("[data-testid=query]");
      const first = query.dataset.pixelId;
      button.dispatchEvent(clicks[0]);
      const timer = setInterval(() => { // the second one comes when the next pixel is there already
        if (query.dataset.pixelId === first) return;
        clearInterval(timer);
        button.dispatchEvent(clicks[1]);
        done();
      }, 10);
    """
    first = page.asked()
    page.driver.execute_async_script(script, page.find("class-1"))
    page.until(lambda: page.text("status") == "A double click answers one pixel.")
    page.until(lambda: page.asked() != first)
    assert list(page.given()) == [first]
    time.sleep(0.4)
    second = page.asked()
    click(2)  # a second look was possible in between
    page.until(lambda: set(page.given()) == {first, second})
    third = page.asked()
    page.find("class-1").click()
    page.until(lambda: set(page.given()) == {first, second, third})


def test_a_shape_is_changed_before_it_is_labelled_and_comes_back_if_it_is_refused(
    page: Page, monkeypatch: pytest.MonkeyPatch
) -> None:
    page.answer()
    page.find("polygon").click()
    for row, column in ((20.2, 5.3), (20.2, 9.7), (24.8, 9.7), (24.8, 5.3)):
        page.click(row, column)
    shown = page.driver.find_element(By.ID, "shape")
    assert shown.text.startswith("Shape with 4 corners.")
    page.chord(Keys.CONTROL, "z")  # not the answer, which is farther away
    page.find("undo").click()
    assert shown.text.startswith("Shape with 2 corners.")
    page.click(24.8, 9.7)
    monkeypatch.setattr("hsi_al.label.session.MOST_FILLED", 2)
    page.keys("1")
    page.until(lambda: "draw smaller ones" in page.text("alerts"))
    page.find("alert-change-the-shape").click()
    page.until(lambda: shown.text.startswith("Shape with 3 corners.") and page.text("alerts") == "")
    assert len(page.given()) == 1
    monkeypatch.undo()
    page.keys("1")
    page.until(lambda: len(page.given()) > 5 and not shown.is_displayed())


def test_clicks_of_a_trembling_hand_in_a_dense_picture_at_a_place_of_ones_own(page: Page) -> None:
    page.asked()
    page.size(1280, 720, dense=2)  # as when the window is moved to another screen
    scene = page.find("scene")
    sharp = "return document.querySelector('#scene canvas').width / arguments[0].clientWidth"
    page.until(lambda: page.driver.execute_script(sharp, scene) == 2)
    page.size(1280, 720)
    page.until(lambda: page.driver.execute_script(sharp, scene) == 1)

    for _ in range(4):
        page.find("zoom-in").click()
    far = page.asked()
    away = 150 if far % WIDTH > WIDTH / 2 else -150
    for _ in range(5):
        drag = ActionChains(page.driver, duration=0).move_to_element(scene).click_and_hold()
        drag.move_by_offset(away, 0).move_by_offset(away, 0).release().perform()
    hand = ActionChains(page.driver, duration=0).move_to_element(scene).click_and_hold()
    for _ in range(5):
        hand.move_by_offset(1, 1).move_by_offset(-1, -1)
    hand.release().perform()
    chosen = page.asked()
    assert chosen != far
    view = [scene.get_attribute(f"data-{name}") for name in ("left", "top", "scale")]
    page.keys("1")
    page.until(lambda: page.given() == {chosen: 1} and page.asked() == far)
    time.sleep(0.1)  # a frame or two
    assert [
        scene.get_attribute(f"data-{name}") for name in ("left", "top", "scale")
    ] == view  # though `far` isn't in it


def test_two_tabs_show_the_same(page: Page) -> None:
    first = page.driver.current_window_handle
    page.asked()
    page.driver.switch_to.new_window("tab")
    try:
        page.open()
        answered = page.answer()
        now = page.asked()
        page.driver.switch_to.window(first)
        page.until(lambda: page.asked() == now and page.find(f"label-{answered}"))
    finally:
        for handle in set(page.driver.window_handles) - {first}:
            page.driver.switch_to.window(handle)
            page.driver.close()
        page.driver.switch_to.window(first)


def test_server_that_goes_comes_back_and_is_followed_by_another(page: Page) -> None:
    kept = page.answer()
    pixel = page.asked()
    page.serving.stop()
    page.keys("1")
    page.until(lambda: "Not done: corn for row" in page.text("alerts"))
    assert "start it again with the same command" in page.text("alerts")
    other = pixel + 1 if pixel % WIDTH < WIDTH - 1 else pixel - 1
    page.keys(Keys.ARROW_RIGHT if other > pixel else Keys.ARROW_LEFT, "2")
    page.until(lambda: "Not done: oats for row" in page.text("alerts"))
    page.serving.start()
    page.until(lambda: "does not answer" not in page.text("alerts"))
    for left in (2, 1):  # each answer is tried again by itself
        buttons = page.driver.find_elements(By.CSS_SELECTOR, '[data-testid="alert-try-again"]')
        assert len(buttons) == left
        buttons[0].click()
        page.until(lambda left: page.text("alerts").count("Not done") == left - 1, left)
    assert page.given() == {kept: int(TRUTH.ravel()[kept]), pixel: 1, other: 2}
    page.until(lambda: page.text("alerts") == "")

    page.serving.stop()
    page.serving.token = "second"
    page.serving.start()
    page.until(lambda: "Open the address that the program prints" in page.text("alerts"))
    page.open()
    page.until(lambda: page.find(f"label-{pixel}") and page.find(f"label-{kept}"))
    assert page.text("alerts") == ""


LOSE_ONE_REPLY = """
  const real = window.fetch;
  window.fetch = async (path, options) => {
    const answer = await real(path, options);
    if (options.method === "GET") return answer;
    window.fetch = real;
    throw new TypeError("Failed to fetch");
  };
"""


def test_reply_that_is_lost_lets_nothing_be_done_twice(page: Page) -> None:
    first, second, third = (page.answer() for _ in range(3))
    page.driver.execute_script(LOSE_ONE_REPLY)
    page.keys(Keys.BACKSPACE)
    page.until(lambda: "Not done: undo, as far as this page knows" in page.text("alerts"))
    assert set(page.given()) == {first, second}
    page.find("alert-try-again").click()
    page.until(lambda: page.text("alerts") == "" and page.asked() == third)
    assert set(page.given()) == {first, second}

    page.click(10.5, 47.5)
    assert page.asked() == 10 * WIDTH + 47
    page.driver.execute_script(LOSE_ONE_REPLY)
    page.keys("1")
    page.until(lambda: "Not done: corn for row 10" in page.text("alerts"))
    page.find("alert-try-again").click()
    page.until(lambda: page.asked() == third)  # as after any answer: back to what is asked
    page.keys(Keys.BACKSPACE)  # one step
    page.until(lambda: set(page.given()) == {first, second})


def test_full_disk_refuses_the_answer_on_the_page_and_keeps_the_question(
    page: Page, monkeypatch: pytest.MonkeyPatch
) -> None:
    pixel = page.asked()

    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(page.serving.session.journal, "append", full)
        page.keys("2")
        page.until(lambda: "No space left" in page.text("alerts"))
    assert page.asked() == pixel
    assert page.given() == {}
    page.keys("2")
    page.until(lambda: page.given() == {pixel: 2} and page.text("alerts") == "")


def test_nothing_is_loaded_from_elsewhere_and_nothing_goes_wrong(page: Page) -> None:
    page.log()
    page.open()
    page.asked()
    for _ in range(6):
        page.answer()
    page.until(lambda: page.serving.session.map is not None)
    page.until(lambda: page.find("layer-uncertainty").is_enabled())
    page.find("layer-uncertainty").click()
    time.sleep(0.3)
    loaded = page.driver.execute_script("return performance.getEntriesByType('resource').map((one) => one.name)")
    assert {re.match(r"http://127\.0\.0\.1:\d+/", one) is not None for one in loaded} == {True}
    assert {"scene", "map", "uncertainty"} <= {one.split("/")[5] for one in loaded if "/api/tiles/" in one}
    assert page.log() == []


def test_a_bug_of_the_page_is_not_taken_for_a_program_that_does_not_answer(page: Page) -> None:
    planted = (
        "const done = arguments[0]; import('/static/session.js').then(({session}) => { const shown = session.onState; "
        "session.onState = () => { session.onState = shown; throw new Error('planted'); }; done(); });"
    )
    pixel = page.asked()
    page.driver.execute_async_script(planted)
    page.keys("2")
    page.until(lambda: page.given() == {pixel: 2} and page.asked() != pixel)  # the next news is shown again
    page.driver.execute_async_script(planted.replace("session.onState = shown; ", ""))
    page.keys("1")
    page.until(lambda: "a bug here (planted)" in page.text("alerts"))
    assert "Not done" not in page.text("alerts") and "does not answer" not in page.text("alerts")
    assert len(page.given()) == 2
    page.find("alert-reload").click()
    page.until(lambda: page.text("alerts") == "" and page.asked() not in page.given())
    page.log()


def test_a_scene_that_can_no_longer_be_read_is_said(page: Page, monkeypatch: pytest.MonkeyPatch) -> None:
    page.asked()

    def gone(*_: Any) -> None:
        raise SceneError("cube.tif: the disk is gone")

    with monkeypatch.context() as patch:
        patch.setattr("hsi_al.label.tiles.ScenePictures.tile", gone)
        patch.setattr(page.serving.session, "spectra", gone)
        page.open()
        page.until(lambda: page.text("alerts").count("cube.tif: the disk is gone") == 2)  # picture and spectrum
    page.until(lambda: page.text("alerts") == "")
    page.log()


def test_all_labels_are_counted_where_only_the_latest_are_listed(page: Page, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hsi_al.label.server.MOST_LISTED", 3)
    for _ in range(4):
        page.answer()
    page.answer("0")
    page.until(lambda: page.text("tab-labels") == "Your labels (5)")


def test_tab_reaches_everything_and_the_focus_is_seen(page: Page) -> None:
    page.answer()
    page.driver.execute_script("document.activeElement.blur()")
    seen: list[str] = []
    for _ in range(60):
        page.keys(Keys.TAB)
        focused = page.driver.switch_to.active_element
        seen.append(focused.get_attribute("data-testid") or focused.tag_name)
        assert focused.value_of_css_property("outline-style") != "none", seen[-1]
        name = page.driver.execute_script(
            "const e = arguments[0]; return e.ariaLabel || e.textContent.trim() || e.labels?.[0]?.textContent",
            focused,
        )
        assert name, seen[-1]
        if seen[-1] == "theme":
            break
    # What is switched off (layers of a map that isn't there yet, nothing to redo) is passed over.
    top = ["assess", "export", "help", "colours", "contrast", "layer-labels", "scene", "zoom-in", "polygon"]
    side = ["skip", "undo", "class-1", "edit-1", "class-3", "new-class", "add-class", "tab-labels", "theme"]
    assert [name for name in seen if name in (*top, *side, "layer-map", "redo")] == top + side


def test_everything_fits_on_a_laptop_and_on_a_tablet_in_both_ways(make: Callable[..., Page]) -> None:
    page = make(*[f"a class with a name {i}" for i in range(9)])
    page.asked()
    for width, height in ((1024, 768), (768, 1024), (1280, 720)):
        page.size(width, height)
        page.until(lambda width: page.driver.execute_script("return innerWidth") == width, width)
        assert page.driver.execute_script("return document.documentElement.scrollWidth") <= width
        for testid in ("query", "window", "skip", "undo", "class-1", "class-9", "scene", "spectrum", "assess", "help"):
            box = page.find(testid).rect
            assert box["x"] >= 0, testid
            assert box["y"] >= 0, testid
            assert box["x"] + box["width"] <= width, (testid, width)
            assert box["y"] + box["height"] <= height, (testid, height)
        scene = page.find("scene").size
        assert scene["height"] >= 0.35 * height
        assert scene["width"] >= 0.6 * width


def test_the_focus_is_not_behind_what_stays_in_place(make: Callable[..., Page]) -> None:
    page = make(*[f"class {number}" for number in range(30)])
    page.asked()
    page.size(1280, 577)
    page.until(lambda: page.driver.execute_script("return innerHeight") == 577)
    assert page.driver.execute_script("return document.documentElement.scrollHeight") == 577  # one scroll bar, not two
    script = """
      const button = document.activeElement;
      const box = button.getBoundingClientRect();
      const there = document.elementFromPoint(box.left + 5, box.top + 5);
      return [button.dataset.testid, there?.closest("button") === button];
    """
    page.driver.execute_script("arguments[0].focus()", page.find("tab-labels"))
    seen = []
    for _ in range(63):  # back through the list, upwards
        page.chord(Keys.SHIFT, Keys.TAB)
        name, is_seen = page.driver.execute_script(script)
        if name is not None and name.startswith("class-"):
            seen.append((name, is_seen))
    assert seen == [(f"class-{number}", True) for number in range(30, 0, -1)]


def test_accuracy_check_is_blind_and_ends_with_a_report(page: Page) -> None:
    for _ in range(8):
        page.answer()
    page.until(lambda: page.serving.session.map is not None and page.find("layer-map").is_enabled())
    page.until(lambda: "The model says" in page.text("guess"))
    marked = """
      const [[row, column], scene] = [arguments[0], document.getElementById("scene")];
      const { left, top, scale } = scene.dataset;
      const at = (place, from) => Math.round((place + 0.5 - from) * scale);
      const marks = [...scene.querySelectorAll("canvas")].at(-1).getContext("2d");
      return marks.getImageData(at(column, left), at(row, top), 1, 1).data[3];
    """
    shown = [pixel for pixel in page.given() if page.driver.execute_script(marked, divmod(pixel, WIDTH))]
    assert len(shown) == len(page.given())
    for size in ("6", "9"):  # the first one is stopped
        page.find("assess").click()
        page.find("sample").clear()
        page.find("sample").send_keys(size, Keys.ENTER)
        page.until(lambda size: page.text("assess") == f"Check 0 / {size}", size)
        if size == "6":
            page.find("stop-assessment").click()
            page.until(lambda: page.text("assess") == "Check accuracy")
    page.until(lambda: page.text("assess") == "Check 0 / 9")
    # Nor are one's own labels shown, which may lie on what is asked.
    assert not page.find("layer-map").is_enabled() and not page.find("layer-labels").is_enabled()
    page.until(lambda: not any(page.driver.execute_script(marked, divmod(pixel, WIDTH)) for pixel in shown))
    labels = page.given()
    for number in range(9):
        pixel = page.asked()
        page.until(lambda number: page.text("assess") == f"Check {number} / 9", number)
        assert page.text("guess") == ""
        assert "%" not in page.text("class-1")
        page.click(5, 5)  # another pixel can't be chosen
        assert page.asked() == pixel
        page.keys("0" if number == 3 else str(TRUTH.ravel()[pixel]))
        page.until(lambda pixel: page.text("assess") == "Check accuracy" or page.asked() != pixel, pixel)
    page.until(lambda: page.find("report").is_displayed())
    assert "8 pixels were labelled, 1 left out" in page.text("report")
    assert page.text("overall").startswith("100.0 %")  # fields as clear as these are mapped without an error
    assert page.given() == labels  # the model doesn't get them
    page.keys(Keys.ESCAPE)
    page.until(lambda: page.find("layer-map").is_enabled())


def test_export_says_what_was_written_and_where(page: Page) -> None:
    for _ in range(8):
        page.answer()
    page.until(lambda: page.find("layer-map").is_enabled())
    page.find("export").click()
    page.until(lambda: page.find("export-files").is_displayed())
    folder = Path(page.text("export-folder"))
    named = [
        item.find_element(By.TAG_NAME, "code").text
        for item in page.find("export-files").find_elements(By.TAG_NAME, "li")
    ]
    assert named
    assert [name for name in named if not (folder / name).is_file()] == []
    page.keys(Keys.ESCAPE)
    assert page.driver.switch_to.active_element == page.find("export")  # the focus goes back


def test_answers_do_not_wait_for_an_export(page: Page) -> None:
    for _ in range(8):
        page.answer()
    page.until(lambda: page.find("layer-map").is_enabled())
    pixel = page.asked()
    with page.serving.session.computing:  # as while files are written
        page.find("export").click()
        page.until(lambda: "Writing the files" in page.driver.page_source)
        page.find("export").click()
        assert page.text("status") == "The files are being written already."
        page.keys("2")
        page.until(lambda: page.given().get(pixel) == 2)
    page.until(lambda: page.find("export-files").is_displayed())


def test_spectra_have_gaps_and_round_ticks(page: Page) -> None:
    script = """
      const [call, done] = [arguments[0], arguments[arguments.length - 1]];
      import("/static/spectrum.js").then((module) => done(
        call.name === "ticks" ? module.ticks(...call.given)
          : module.runs(call.xs, call.values, call.order, new Set(call.gaps))));
    """

    def run(**call: Any) -> Any:
        return page.driver.execute_async_script(script, call)

    xs = [400, 410, 420, 430, 600, 610, 620, 630]

    def runs(values: list[float | None], gaps: list[int]) -> Any:
        found = run(name="runs", xs=xs, values=values, order=list(range(8)), gaps=gaps)
        return [[x for x, _ in one] for one in found]

    ones: list[float | None] = [1.0] * 8
    assert runs(ones, []) == [[400, 410, 420, 430], [600, 610, 620, 630]]  # a jump of the wavelength
    assert runs([1.0, None, *ones[2:]], [6]) == [[400], [420, 430], [600, 610], [620, 630]]
    assert runs([None, *ones[1:7], None], []) == [[410, 420, 430], [600, 610, 620]]
    assert runs([None] * 8, []) == []
    down = run(name="runs", xs=[630, 620, 600, 590], values=[1.0] * 4, order=[3, 2, 1, 0], gaps=[2])  # of the file
    assert [[x for x, _ in one] for one in down] == [[590, 600], [620, 630]]
    assert run(name="ticks", given=[0, 1, 4]) == [0, 0.5, 1]
    assert run(name="ticks", given=[400, 2500, 8]) == [500, 1000, 1500, 2000, 2500]
    assert run(name="ticks", given=[-0.031, 0.069, 5]) == [-0.02, 0, 0.02, 0.04, 0.06]


def test_theme_by_a_switch_that_is_remembered(page: Page) -> None:
    def background() -> str:
        return str(page.driver.find_element(By.TAG_NAME, "body").value_of_css_property("background-color"))

    page.find("theme").click()
    assert page.text("theme") == "Theme: light"
    light = background()
    page.find("theme").click()
    dark = background()
    assert light != dark
    page.serving.stop()
    page.serving.port = 0  # as a new start of the program
    page.serving.start()
    page.open()
    assert (page.text("theme"), background()) == ("Theme: dark", dark)
    page.find("theme").click()
    assert page.text("theme") == "Theme: auto"


def test_tiles_lie_where_they_belong_at_every_zoom(driver: webdriver.Chrome, large: Path, tmp_path: Path) -> None:
    serving = Serving(tmp_path / "session", large, ["one", "two"])
    page = Page(driver, serving)
    page.size(1280, 720)
    read = """
      const [row, column, scene] = [arguments[0], arguments[1], document.getElementById("scene")];
      const { left, top, scale } = scene.dataset;
      const at = (place, from) => Math.floor((place + 0.5 - from) * scale);
      const context = scene.querySelector("canvas").getContext("2d");
      return [...context.getImageData(at(column, left), at(row, top), 1, 1).data];
    """
    try:
        page.open()
        for testid, option in (("colours", "own"), ("band-red", "0"), ("band-green", "1"), ("contrast", "0")):
            page.find(testid).find_element(By.CSS_SELECTOR, f'option[value="{option}"]').click()

        def right(row: int, column: int, tolerance: float) -> bool:
            red, green, _, alpha = driver.execute_script(read, row, column)
            wrong = abs(red / 255 * 299 - column), abs(green / 255 * 269 - row)
            return bool(alpha == 255 and max(wrong) <= tolerance)

        places = [(0, 0), (0, 299), (269, 0), (269, 299), (255, 255), (256, 256), (100, 256), (256, 100), (133, 80)]
        page.until(lambda: all(right(*place, 2) for place in places))
        page.keys(Keys.ESCAPE, "-", "-", "-")  # out of the field; tiles of the level with half the resolution
        page.until(lambda: float(page.find("scene").get_attribute("data-scale") or 1) <= 0.5)
        page.until(lambda: all(right(*place, 6) for place in places))

        def whole() -> bool:  # the next frame has drawn it
            left, top, scale = (
                float(page.find("scene").get_attribute(f"data-{n}") or 0) for n in ("left", "top", "scale")
            )
            return left <= 0 and top <= 0 and 0.5 < scale < 3

        for row, column in ((256, 100), (100, 255)):
            page.keys(Keys.HOME)
            page.until(whole)
            page.click(row + 0.5, column + 0.5)
            chosen = page.asked()
            assert max(abs(chosen // 300 - row), abs(chosen % 300 - column)) <= 1
            page.keys(".", "+", "+", "+")  # close up at an edge of tiles
            near = [(row + i, column + j) for i in (-3, 0, 3) for j in (-3, 0, 3)]
            page.until(lambda near: all(right(row, column, 1) for row, column in near), near)
            middle = driver.execute_script(
                "return [...document.getElementById('window').getContext('2d').getImageData(164 + 24, 164, 1, 1).data]"
            )
            assert abs(middle[0] / 255 * 299 - (chosen % 300 + 3)) <= 1  # eight screen pixels a pixel
            assert abs(middle[1] / 255 * 269 - chosen // 300) <= 1
            page.keys(Keys.ESCAPE)
    finally:
        driver.get("about:blank")
        serving.stop()
