#!/usr/bin/python3
"""The live page in a real browser (headless Chromium), with real processes behind it.

Where there is no Chromium, only what needs none is tested.
"""
import base64
import contextlib
import hashlib
import http.client
import io
import json
import random
import re
import shutil
import signal
import struct
import unittest

import numpy as np
from PIL import Image

import test_asking as asking
from lib import fleet as f, serving
from lib.fleet import PATIENCE, PORTIONS, SIDE, wait_until
from lib.pictures import GREY, RGB, RGB_ALPHA, Ask, chunk, png
from lib.serving import post

try:
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service
    from selenium.webdriver.common.action_chains import ActionChains
    from selenium.webdriver.common.by import By
    from selenium.webdriver.common.keys import Keys
    HAS_BROWSER = bool(shutil.which("chromium") and shutil.which("chromedriver"))
except ImportError:
    HAS_BROWSER = False

WIDE, NARROW = (1200, 1600), (360, 740)
TOKEN = "a-token.of_32~characters+or/so=="
SEVEN = [(.2, .2), (.5, .2), (.8, .2), (.6, .5), (.45, .85)]
TEXT_CONTRAST = 4.5
JPEG_TOLERANCE = 3

# Every element with text of its own: [what, contrast with what is behind it]. Colours are asked of a canvas.
CONTRASTS = """
const canvas = document.createElement("canvas").getContext("2d", {willReadFrequently: true});
function channels(colour) {
  canvas.clearRect(0, 0, 1, 1); canvas.fillStyle = colour; canvas.fillRect(0, 0, 1, 1);
  return [...canvas.getImageData(0, 0, 1, 1).data];
}
function luminance(colour) {
  const [r, g, b] = channels(colour).map(v => v / 255).map(v => v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
}
function behind(element) {
  for (let at = element; at; at = at.parentElement) {
    const colour = getComputedStyle(at).backgroundColor;
    if (channels(colour)[3] === 255) return colour;
  }
  return "white";
}
return [...document.querySelectorAll("body *")].filter(e => e.checkVisibility() && !e.disabled && e.tagName !== "SCRIPT" &&
    [...e.childNodes].some(n => n.nodeType === 3 && n.data.trim())).map(e => {
  const style = getComputedStyle(e), pair = [luminance(e instanceof SVGElement ? style.fill : style.color), luminance(behind(e))];
  return [`${e.tagName} ${e.className} ${e.textContent.slice(0, 30)}`, (Math.max(...pair) + 0.05) / (Math.min(...pair) + 0.05)];
});
"""

# From now on the bodies of requests are kept in window.sent.
KEEP_BODIES = """
const real = window.fetch;
window.sent = [];
window.fetch = (path, options) => {
  if (options && options.body) window.sent.push(Array.from(options.body));
  return real(path, options);
};
"""

# Drops a PNG of a colour on the page, made by the browser itself.
DROP = """
const canvas = document.createElement("canvas");
canvas.width = 120; canvas.height = 90;
const context = canvas.getContext("2d");
context.fillStyle = "#fff"; context.fillRect(0, 0, 120, 90);
context.fillStyle = "#00c"; context.fillRect(80, 10, 12, 60);
canvas.toBlob(blob => {
  const carried = new DataTransfer();
  carried.items.add(new File([blob], "one.png", {type: "image/png"}));
  document.getElementById("pad").dispatchEvent(new DragEvent("drop", {dataTransfer: carried, bubbles: true, cancelable: true}));
});
"""


def kinds_of_pictures(draw):
    """(name, file, how far a value may be off) of every kind, of the sample's size."""
    def encoded(image, kind="PNG", **how):
        out = io.BytesIO()
        image.save(out, kind, **how)
        return out.getvalue()

    size, linear = (SIDE, SIDE), chunk(b"gAMA", struct.pack(">I", 100000))
    full = Image.frombytes("RGBA", size, draw.randbytes(4 * SIDE * SIDE))
    grey, colour = full.getchannel(0), full.convert("RGB")
    turned = Image.Exif()
    turned[0x112] = 6
    for mode in ("1", "L", "LA", "P", "RGB", "RGBA"):
        yield mode, encoded(full.convert(mode)), 0
    yield "light", encoded(Image.new("L", size, 255)), 0
    yield "palette-alpha", encoded(full.convert("RGB").quantize(16), transparency=bytes(range(0, 256, 16))), 0
    for name, image in (("grey", grey), ("colour", colour)):
        whole = encoded(image)
        yield f"{name}-linear", whole[:33] + linear + whole[33:], 0
        yield f"{name}-turned", encoded(image, exif=turned), 0
        yield f"{name}-jpeg", encoded(image, "JPEG", quality=95, subsampling=0), JPEG_TOLERANCE
        yield f"{name}-jpeg-turned", encoded(image, "JPEG", quality=95, subsampling=0, exif=turned), JPEG_TOLERANCE
    for colour_type, channels in ((GREY, 1), (RGB, 3), (RGB_ALPHA, 4)):
        values = np.frombuffer(draw.randbytes(2 * channels * SIDE * SIDE), "u2").reshape(SIDE, SIDE, channels)
        yield f"16-bit-{colour_type}", png(colour_type, 16, values), 0


def as_the_server(body):
    """The sample that the server makes of a picture."""
    ask = Ask()
    ask.add("picture", body, (1, SIDE, SIDE))
    return next(ask.answers())[2]


def setUpModule():
    serving.ServingCase.made = serving.Made()


class Browser:
    """One browser for all tests, started when the first wants it."""
    _driver = None

    @classmethod
    def driver(cls):
        if cls._driver is None:
            options = webdriver.ChromeOptions()
            options.binary_location = shutil.which("chromium")
            for argument in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--no-proxy-server"):
                options.add_argument(argument)
            options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
            cls._driver = webdriver.Chrome(service=Service(shutil.which("chromedriver")), options=options)
            unittest.addModuleCleanup(cls._driver.quit)
        return cls._driver


class WithoutBrowser(serving.ServingCase):
    def get(self, server, method="GET", **headers):
        connection = http.client.HTTPConnection("127.0.0.1", server.http, timeout=PATIENCE)
        with contextlib.closing(connection):
            connection.request(method, "/", headers=headers)
            answer = connection.getresponse()
            return answer.status, answer.headers, answer.read().decode()

    def test_what_is_sent(self):
        path = self.folder / "token"
        path.write_text(TOKEN)
        server = self.serve("--api-token-file", path)
        status, headers, text = self.get(server)
        self.assertEqual((status, headers["Content-Type"]), (200, "text/html; charset=utf-8"))
        self.assertEqual(text, (f.ROOT / "decoder_server/http/ui/index.html").read_text())
        self.assertEqual(headers["Cache-Control"], "no-cache")
        policy = headers["Content-Security-Policy"]
        self.assertTrue(policy.startswith("default-src 'none'; "), policy)
        self.assertNotIn("unsafe", policy)
        for element in ("script", "style"):
            content = re.findall(rf"<{element}>(.*?)</{element}>", text, re.S)
            self.assertEqual(len(content), 1)
            digest = base64.b64encode(hashlib.sha256(content[0].encode()).digest()).decode()
            self.assertIn(f"{element}-src 'sha256-{digest}'", policy)
        self.assertEqual(set(re.findall(r"https?://[^'\"/]+", text)), {"http://www.w3.org"})  # names SVG, asks nobody
        again, more, nothing = self.get(server, If_None_Match=headers["ETag"])
        self.assertEqual(again, 200)  # no such header
        again, more, nothing = self.get(server, **{"If-None-Match": f'"old", {headers["ETag"]}'})
        self.assertEqual((again, more["ETag"], nothing), (304, headers["ETag"], ""))
        self.assertEqual(self.get(server, **{"If-None-Match": '"old"'})[0], 200)
        head = self.get(server, "HEAD")
        self.assertEqual((head[0], head[1]["Content-Length"], head[2]), (200, str(len(text.encode())), ""))
        self.assertEqual(self.get(server, "POST")[0], 405)


@unittest.skipUnless(HAS_BROWSER, "no chromium, chromium-driver or python3-selenium here")
class PageCase(serving.ServingCase):
    def setUp(self):
        super().setUp()
        self.browser = Browser.driver()
        self.expected = None  # a pattern of console lines that may come
        self.look(*WIDE)
        self.addCleanup(self.browser.get, "about:blank")
        self.browser.get_log("browser")  # what the one before left

    def tearDown(self):
        said = [entry["message"] for entry in self.browser.get_log("browser")]
        self.assertEqual([line for line in said if not (self.expected and re.search(self.expected, line))], [])

    def look(self, width, height, scheme="light"):
        self.browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", {
            "width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500})
        self.browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {
            "features": [{"name": "prefers-color-scheme", "value": scheme},
                         {"name": "prefers-reduced-motion", "value": "reduce"}]})

    def open(self, server, state):
        self.browser.get(f"http://127.0.0.1:{server.http}/")
        self.wait_text("state", state)

    def find(self, where):
        return self.browser.find_element(By.CSS_SELECTOR, where)

    def text(self, name):
        """The text of the element with this id, seen or not."""
        return self.browser.execute_script("return document.getElementById(arguments[0]).textContent", name)

    def texts(self, where):
        """What all these show, at one moment."""
        return self.browser.execute_script(
            "return [...document.querySelectorAll(arguments[0])].map(e => e.innerText.replace(/\\s+/g, ' ').trim())", where)

    def wait_text(self, name, pattern):
        return wait_until(lambda: re.search(pattern, self.text(name)), f"{name} to say {pattern!r}",
                          explain=lambda: f"it says {self.text(name)!r}\n{self.fleet.explain()}")

    def draw(self, points):
        pad = self.find("#pad")
        width, height = pad.size["width"], pad.size["height"]
        chain = ActionChains(self.browser, duration=10)
        for i, (x, y) in enumerate(points):
            chain.move_to_element_with_offset(pad, round((x - .5) * width), round((y - .5) * height))
            if i == 0:
                chain.click_and_hold()
        chain.release().perform()

    def bits(self):
        """What each node's card shows: its bits, or what it says in place of them."""
        return [text if "No" in text else text.replace(" ", "") for text in self.texts(".bits")]

    def sent(self):
        """The last sample that the page sent, from where KEEP_BODIES was run."""
        return bytes(self.browser.execute_script("return window.sent[window.sent.length - 1]"))

    def assert_shows(self, answer):
        """The page shows this answer of the server, but for its timings."""
        self.assertEqual(self.text("label"), answer["label"])
        self.assertEqual(self.text("sure"), f"{100 * answer['probability']:.1f}\u00a0% sure")
        self.assertEqual(self.bits(), [code if code is not None else "No bits came" for code in answer["bits"]])
        self.assertIn(f"{answer['payload_bits']} bits", self.text("cost-payload"))
        frames = int(re.search(r"\((\d+) bytes in frames\)", self.text("cost-wire")).group(1))
        self.assertAlmostEqual(frames, answer["frame_bytes"], delta=4 * PORTIONS)  # a later request's id may be longer
        self.assertIn("6,272 bits (784 bytes)", self.text("cost-raw"))
        self.assertEqual(self.texts("#bars td:last-child"), [f"{100 * p:.1f} %" for p in answer["probabilities"]])
        self.assertEqual(self.texts("#bars .best th"), [answer["label"]])

    def assert_usable(self, *sizes):
        """Names, contrast, width, in light and dark, as the page stands."""
        nodes = self.browser.execute_cdp_cmd("Accessibility.getFullAXTree", {})["nodes"]
        for node in nodes:
            role = node.get("role", {}).get("value")
            properties = {p["name"]: p["value"].get("value") for p in node.get("properties", [])}
            if not node["ignored"] and role != "RootWebArea" and (
                    properties.get("focusable") or role in ("image", "button", "progressbar", "table", "region", "dialog")):
                named = node.get("name", {}).get("value", "").strip()
                self.assertTrue(named or role == "main", f"a {role} without a name: {node}")
        for width, height in sizes:
            for scheme in ("light", "dark"):
                self.look(width, height, scheme)
                self.assertLessEqual(self.browser.execute_script("return document.documentElement.scrollWidth"), width)
                contrasts = self.browser.execute_script(CONTRASTS)
                self.assertGreater(len(contrasts), 5)
                self.assertEqual([c for c in contrasts if c[1] < TEXT_CONTRAST], [], scheme)
        self.look(*WIDE)


class OwnersData(PageCase):
    """A table, a signal, a picture and numbers, each its owner's own: samples by id, and values by portion."""

    def test_by_id_and_by_portion(self):
        owners = asking.Made()
        server = self.fleet.serve(owners.run, "--results", self.folder / "results.jsonl")
        for k, name in enumerate(asking.NAMES):
            self.fleet.start(name, f.binary("encoder_node"), "--server", f"127.0.0.1:{server.port}", "--name", name, "--data",
                             owners.data(name), "--state", owners.run / "nodes" / f"node-{k}", "--offer-samples")
        self.open(server, "Serving, 4 of 4 nodes up")
        self.assertIn("clinic (4 numbers), wrist (2 signals of 16), eye (a picture of 8 × 6), gauge (3 numbers)", self.text("about"))
        self.assertFalse(self.find("#pad").is_displayed())
        wait_until(lambda: self.texts("#offered button"), "samples on offer", explain=self.fleet.explain)
        offered = self.texts("#offered button")
        self.assertTrue(set(offered) <= set(owners.ids))
        self.find("#offered button").click()
        self.wait_text("said", "sure")
        by_id = self.ask(server, {"samples": [offered[0]]})["results"][0]
        self.assert_shows_own(by_id)
        self.assertIn(f"Sample {offered[0]}", self.text("note"))
        self.find("#sample-id").clear()
        self.find("#sample-id").send_keys("nobody", Keys.ENTER)
        self.wait_text("note", "No answer: no node has a sample of this id")
        self.expected = "status of 400"
        self.values(owners)
        self.assert_usable(WIDE, NARROW)

    def values(self, owners):
        """Every portion by hand, one of them a file, and then one alone."""
        row = owners.rows[owners.ids[3]]
        server = self.fleet.programs[0]
        self.find("#values-0").send_keys(",".join(row), Keys.ENTER, ",".join(map(str, row.values())))
        self.find("#values-1").send_keys(", ".join(f"{v:.3f}" for v in owners.wrist[3].ravel()))
        picture = self.folder / "eye.png"
        picture.write_bytes(asking.png_bytes(owners.eye[3][0]))
        self.find("#values-file-2").send_keys(str(picture))
        self.find("#values-3").send_keys(" ".join(str(v) for v in owners.gauge[3]))
        self.find("#by-values button").click()
        self.wait_text("note", "Every node answered")
        self.assert_shows_own(self.ask(server, {"samples": [owners.ids[3]]})["results"][0])
        drawn = self.browser.execute_script("""return [...document.querySelectorAll(".card canvas")].map(canvas =>
            canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data.some(value => value > 0))""")
        self.assertEqual(drawn, [False, True, False, True])  # a row and a file are the node's to read
        for k in (0, 1, 3):
            self.find(f"#values-{k}").clear()
        self.browser.execute_script("document.getElementById('values-file-2').value = ''")
        for text in ("1 2", "1,2,", ",1,2", "1,,2,3", "1;2;x"):
            self.find("#values-3").clear()
            self.browser.execute_script("document.getElementById('note').textContent = ''")
            self.find("#values-3").send_keys(text)
            self.find("#by-values button").click()
            self.wait_text("note", "portion 'gauge'")  # no numbers of its shape: a row, which the node cannot read
        self.find("#values-3").clear()
        self.find("#values-3").send_keys(" 1 ;2,  3 ")
        self.find("#by-values button").click()
        self.wait_text("note", r"Degraded: no bits from clinic \(portion clinic\)")

    def ask(self, server, body):
        status, answer = post(server, json.dumps(body), "application/json")
        self.assertEqual(status, 200, answer)
        return answer

    def assert_shows_own(self, answer):
        self.assertEqual(self.text("label"), answer["label"])
        self.assertEqual(self.bits(), answer["bits"])
        self.assertEqual(self.texts("#bars .best th"), [answer["label"]])
        self.assertIn(f"{answer['payload_bits']} bits", self.text("cost-payload"))


class Serving(PageCase):
    def test_drawing(self):
        server, _ = self.start()
        self.open(server, f"Serving, {PORTIONS} of {PORTIONS} nodes up")
        self.assertIn("16 bits in place of 6,272", self.text("about"))
        self.browser.execute_script(KEEP_BODIES)
        self.draw(SEVEN)
        self.wait_text("said", r"sure\. 16 bits\.")
        sample = self.sent()
        self.assert_as_mnist(sample)
        answer = post(server, sample)[1]
        self.assert_shows(answer)
        self.assertEqual(self.text("note"), "Every node answered.")
        self.assertRegex(self.text("times"), r"ms in the server: .* for the nodes, .* ms for this page")
        self.assertGreater(self.browser.execute_script("return window.sent.length"), 1)  # asked while it was drawn
        self.live_results(answer)
        self.assert_usable(WIDE, NARROW)
        self.find("#clear").click()
        self.assertEqual((self.text("label"), self.bits()), ("", [""] * PORTIONS))
        self.look(*NARROW)
        self.touch(SEVEN)
        self.wait_text("said", r"sure\. 16 bits\.")
        self.assert_as_mnist(self.sent())
        self.assert_shows(post(server, self.sent())[1])

    def touch(self, points):
        """Draws with a finger."""
        pad = self.browser.execute_script("const pad = document.getElementById('pad'); pad.scrollIntoView(); "
                                          "const {x, y, width} = pad.getBoundingClientRect(); return [x, y, width]")
        at = self.browser.execute_script("document.getElementById('said').textContent = ''; return scrollY")
        for i, (x, y) in enumerate(points):
            self.browser.execute_cdp_cmd("Input.dispatchTouchEvent", {
                "type": "touchMove" if i else "touchStart",
                "touchPoints": [{"x": pad[0] + x * pad[2], "y": pad[1] + y * pad[2]}]})
        self.browser.execute_cdp_cmd("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
        self.assertEqual(self.browser.execute_script("return scrollY"), at)  # it draws, it does not scroll

    def assert_as_mnist(self, sample):
        """White on black, in a box of 20 x 20, its mass in the middle."""
        self.assertEqual((len(sample), max(sample)), (SIDE * SIDE, 255))
        ink = [(i % SIDE, i // SIDE, value) for i, value in enumerate(sample) if value > 40]
        mass = sum(value for _, _, value in ink)
        for axis in (0, 1):
            places = [point[axis] for point in ink]
            self.assertLessEqual(max(places) - min(places) + 1, 21)
            self.assertAlmostEqual(sum((point[axis] + .5) * point[2] for point in ink) / mass, SIDE / 2, delta=.6)
        self.assertGreaterEqual(max(y for _, y, _ in ink) - min(y for _, y, _ in ink) + 1, 19)

    def live_results(self, answer):
        """Newest first; none while it is paused, those that come then are not made up for."""
        def newest():
            return (self.texts("#results tbody tr") or [""])[0]
        self.wait_text("results-link", "Live")
        shown = " ".join(answer["bits"])
        wait_until(lambda: shown in newest(), "the newest result", explain=newest)
        self.assertIn("http", newest())
        self.find("#pause").click()
        self.assertEqual((self.text("results-link"), self.find("#pause").text), ("Paused", "Go on"))
        before = newest()
        self.classify_many()
        self.assertEqual(newest(), before)
        self.find("#pause").click()
        self.wait_text("results-link", "Live")
        self.classify_many()
        wait_until(lambda: newest() != before, "results after the pause")
        ids = [int(text) for text in self.texts("#results tbody td:first-child")]
        self.assertLessEqual(len(ids), 30)
        self.assertEqual(ids, sorted(ids, reverse=True))

    def classify_many(self):
        for i in range(40):
            self.classify(self.fleet.programs[0], i)

    def test_keyboard_only(self):
        server, _ = self.start()
        self.open(server, "nodes up")
        reached = []
        for _ in range(20):
            ActionChains(self.browser).send_keys(Keys.TAB).perform()
            reached.append(self.browser.switch_to.active_element.get_attribute("id"))
            if reached[-1] == "pad":
                break
        self.assertEqual(reached[-1], "pad", reached)
        outline = self.browser.execute_script("return getComputedStyle(document.activeElement).outlineStyle")
        self.assertEqual(outline, "solid")
        self.browser.execute_script(KEEP_BODIES)
        keys = ActionChains(self.browser, duration=0)
        keys.send_keys(Keys.ARROW_UP * 8, " ", Keys.ARROW_DOWN * 16, " ").perform()
        self.wait_text("said", r"sure\. 16 bits\.")
        line = self.sent()
        self.assert_as_mnist(line)
        self.assert_shows(post(server, line)[1])
        ActionChains(self.browser).send_keys(Keys.BACKSPACE).perform()
        self.wait_text("note", "Nothing has been asked")
        ActionChains(self.browser).send_keys("  ").perform()  # down and up: a dot
        self.wait_text("said", r"sure\. 16 bits\.")
        self.assertGreater(max(self.sent()), 200)
        ActionChains(self.browser).send_keys(Keys.BACKSPACE).perform()
        for wanted in ("clear", "undo", "choose", "sample-id"):  # what is disabled is passed over
            ActionChains(self.browser).send_keys(Keys.TAB).perform()
            self.assertEqual(self.browser.switch_to.active_element.get_attribute("id"), wanted)

    def test_images(self):
        server, _ = self.start()
        self.open(server, "nodes up")
        picture = self.folder / "sample.png"
        picture.write_bytes(f.png(self.made.images[5]))
        self.browser.execute_script(KEEP_BODIES)
        self.find("#file").send_keys(str(picture))
        self.wait_text("said", r"sure\. 16 bits\.")
        self.assertEqual(self.sent(), self.made.images[5])  # of the right size: as it is
        self.assert_shows(self.classify(server, 5))
        self.browser.execute_script(DROP)
        self.wait_text("note", "turned to white on black, scaled to 28 × 28 and centred")
        dropped = self.sent()
        self.assert_as_mnist(dropped)
        self.assert_shows(post(server, dropped)[1])
        (self.folder / "no.png").write_text("no image")
        self.find("#file").send_keys(str(self.folder / "no.png"))
        self.wait_text("note", "no.png is no image")
        self.assertEqual(self.text("label"), "")

    def test_images_are_read_as_the_server_reads_them(self):
        """Of the sample's size: every kind of file becomes what the server makes of it."""
        server, _ = self.start()
        self.open(server, "nodes up")
        self.browser.execute_script(KEEP_BODIES)
        for name, body, tolerance in kinds_of_pictures(random.Random(4)):
            file = self.folder / f"{name}.{'jpg' if body[0] == 0xff else 'png'}"
            file.write_bytes(body)
            before = self.browser.execute_script("return window.sent.length")
            self.find("#file").send_keys(str(file))
            wait_until(lambda: self.browser.execute_script("return window.sent.length") > before, f"{name} to be sent")
            wanted, got = as_the_server(body), self.sent()
            self.assertEqual(len(got), len(wanted), name)
            self.assertLessEqual(max(abs(a - b) for a, b in zip(got, wanted)), tolerance, name)

    def test_nodes_come_and_go(self):
        server, nodes = self.start()
        self.open(server, f"{PORTIONS} of {PORTIONS} nodes up")
        self.wait_text("node-2", r"node-2up since \d\d:\d\d:\d\d")
        self.draw(SEVEN)
        self.wait_text("said", "16 bits")
        self.wait_text("node-2", r"[1-9]\d* bits, \d+ bytes so far")
        nodes[2].signal(signal.SIGTERM)
        nodes[2].wait(0)
        self.wait_text("state", f"{PORTIONS - 1} of {PORTIONS} nodes up")
        self.assertIn("missing since", self.text("node-2"))
        self.find("#again").click()
        self.wait_text("note", r"^Degraded: no bits from node-2 \(portion 2\)\.")
        self.wait_text("said", r"12 bits\. Degraded: ")
        self.assertEqual(self.bits()[2], "No bits came")
        wait_until(lambda: re.search(r"none \d+ degraded", " ".join(self.texts("#results tbody tr")[:1])), "the result marked as degraded")
        self.assert_usable(NARROW)
        self.node(server, 2)
        self.wait_text("node-2", "up since .*1 reconnect")
        self.wait_text("state", f"{PORTIONS} of {PORTIONS} nodes up")
        self.find("#again").click()
        self.wait_text("note", "Every node answered")
        self.expected = "net::ERR_"
        server.kill()
        self.wait_text("state", "cannot be reached")
        self.wait_text("results-link", "Connection lost, trying again")
        self.assertIn("not known", self.text("node-0"))
        self.serve("--http", f"127.0.0.1:{server.http}", port=server.port)
        self.wait_text("state", f"{PORTIONS} of {PORTIONS} nodes up")
        self.wait_text("results-link", "Live")

    def test_token(self):
        path = self.folder / "token"
        path.write_text(TOKEN)
        server = self.serve("--api-token-file", path)
        self.expected = "status of 401"
        self.open(server, "Waiting for the token")
        self.assertIn("only who brings its API token", self.text("token-why"))
        self.assert_usable(NARROW)
        self.assertEqual(self.browser.switch_to.active_element.get_attribute("id"), "token-word")
        for wrong, words in (("öäü", "letters, digits"), ("wrong-token-of-some-length", "refused this token")):
            self.find("#token-word").send_keys(wrong, Keys.ENTER)
            self.wait_text("token-why", words)
            wait_until(lambda: self.find("#token").is_displayed(), "the question for a token")
            self.find("#token-word").clear()
        self.find("#token-later").click()
        self.find("#token-open").click()
        self.browser.switch_to.active_element.send_keys(TOKEN, Keys.ENTER)
        self.wait_text("state", f"Serving, 0 of {PORTIONS} nodes up")
        self.wait_text("results-link", "Live")
        self.assertFalse(self.find("#token").is_displayed())
        self.browser.refresh()
        self.wait_text("state", f"Serving, 0 of {PORTIONS} nodes up")
        self.expected = "status of (401|503)"
        self.draw(SEVEN)
        self.wait_text("note", "No answer: no node is ready.")


class Training(PageCase):
    def test_growing_curves(self):
        run = self.folder / "run"
        server = self.fleet.train(f.write_experiment(self.folder / "e.yaml", training__epochs=500), self.made.split, run,
                                  "--http", "127.0.0.1:0")
        server.http = server.wait_port("http_listening")
        self.open(server, f"Training, 0 of {PORTIONS} nodes up")
        self.wait_text("training-link", "Live")
        self.assertFalse(self.find("#ask").is_displayed() or self.find("#results").is_displayed())
        nodes = self.fleet.nodes(server, self.made.split, run / "nodes")
        self.wait_text("phase", r"Epoch \d+ of 500, batch \d+ of 200: .*loss \d")
        lengths = []
        for epoch in (2, 5):
            wait_until(lambda: self.epochs_drawn() >= epoch, f"epoch {epoch}", explain=self.fleet.explain)
            lengths.append(self.browser.execute_script(
                "return ['#loss path.main', '#accuracy path.main'].map(w => document.querySelector(w).getAttribute('d').length)"))
        self.assertTrue(all(0 < a < b for a, b in zip(*lengths)), lengths)
        self.assertRegex(self.find("#accuracy").get_attribute("aria-label"), r"test, rounded [\d.]+ after epoch 1, ")
        nodes[1].freeze()  # so that nothing moves while it is looked at
        self.find("#figures summary").click()
        rows = self.texts("#figures tbody tr")
        self.assertGreaterEqual(len(rows), 5)
        self.assertRegex(rows[-1], r"^1 [\d.]+( \d+\.\d\d %){3} ")
        self.assert_usable(WIDE, NARROW)
        self.expected = "net::ERR_|training .* status of 404"
        server.kill()
        self.wait_text("state", "cannot be reached")
        self.serve("--http", f"127.0.0.1:{server.http}")  # a serving server takes its place
        self.wait_text("state", f"Serving, 0 of {PORTIONS} nodes up")
        self.wait_text("results-link", "Live")
        self.assertTrue(self.find("#ask").is_displayed() and not self.find("#training").is_displayed())

    def epochs_drawn(self):
        found = re.search(r"after epoch (\d+)$", self.find("#loss").get_attribute("aria-label"))
        return int(found.group(1)) if found else 0


if __name__ == "__main__":
    if not HAS_BROWSER:
        print("skipped: the page in a browser; there is no chromium, chromium-driver or python3-selenium here")
    unittest.main()
