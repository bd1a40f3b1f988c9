// Reads values from the SVG of a report's panels: cursor, zoom, legend, CSV.
//
// Time is told by the event "roboopt:time" on the document, with detail {time, source,
// playing}: the time [s] of the filmed motion, who tells it, and whether it goes on. The video (its <video>), the
// panels of <figure data-film> (their <svg>) and any other view of that motion tell
// where they are when they move by themselves, and follow what they hear from others.
//
// Panels of one axis and range have one cursor, and in one figure one zoom.
//
// Names: v is a value, p a place (of a value, in what the paths say), and s the point
// where a zoomed panel shows a place; l, t, r and b are the edges of the axes, e is an
// event, h half of what is seen. A page has at most 10 kB of this script and that of the replay together.
{
let doc = document, {min, max, abs, floor, log10} = Math,
  all = (root, what) => [...root.querySelectorAll(what)],
  set = (node, name, value) => node.setAttribute(name, value),
  write = (v, n = 4) => +v.toPrecision(n),
  tell = (time, source, playing) => doc.dispatchEvent(new CustomEvent("roboopt:time", {detail: {time, source, playing}}));

let axis = (span, from, to) => {
  let [first, last, log] = span.split(" "), into = v => log ? log10(v) : +v,
    start = into(first), size = to - from, unit = (into(last) - start) / size;
  return {
    low: from, high: to,
    v: p => (p = start + unit * (p - from), log ? 10 ** p : p),
    // Paths are written to the hundredth of a point, and say no more digits.
    say: v => log ? write(v) : +v.toFixed(max(0, 1 - floor(log10(abs(unit))))),
    p: v => from + (into(v) - start) / unit,
    s(p) { return from + size * (p - this.low) / (this.high - this.low) },
    under(s) { return this.low + (this.high - this.low) * (s - from) / size },
    ticks() {
      let [a, b] = [this.v(this.low), this.v(this.high)], powers = log && b > 9 * a, found = [];
      if (powers) [a, b] = [log10(a), log10(b)];
      let ten = 10 ** floor(log10((b - a) / 5)),
        step = [1, 2, 2.5, 5, 10].map(k => k * ten).find(k => k >= (b - a) / 5 && !(powers && k % 1));
      for (let k = Math.ceil(a / step) * step; k <= b; k += step) found.push(powers ? 10 ** k : k);
      return found.map(v => [this.s(this.p(v)), write(v, 7)]);
    },
  };
};

let panels = all(doc, "svg[data-box]").map(svg => {
  let {dataset: data} = svg, {box, axis: label, unit, integer} = data, [l, t, r, b, wide] = box.split(" ").map(Number),
    x = axis(data.x, l, r), y = axis(data.y, b, t), div = svg.parentNode,
    figure = svg.closest("figure"), filmed = +figure.dataset.film,
    marks = all(svg, "[data-key] :is(path[clip-path],use[x])").map(node => {
    let get = name => node.getAttribute(name), d = get("d") ?? `M ${get("x")} ${get("y")}`,
      points = [...d.matchAll(/([ML])\s(\S+)\s(\S+)/g)].map(m => [+m[2], +m[3], m[1] == "M"]);
    return {node, d, points, key: node.closest("[data-key]")};
  });
  let curves = all(svg, "[data-curve]").map(key => {
    let own = marks.filter(m => m.key == key), line = own.find(m => m.node.matches("path")),
      points = line?.points ?? own.flatMap(m => m.points), ink = own[0]?.node.style.stroke;
    return {key, points, ink, name: key.dataset.curve, near: line ? .02 : 3};
  }),
  // The height of a curve over a place: of a point that is near, or between two.
  height = ({key, points, near}, at) => {
    let i = points.findIndex(p => p[0] > at - near), p = points[i], q = points[i - 1];
    if (!p || key.style.display) return;
    if (p[0] < at + near) return p[1];
    if (q && !p[2]) return q[1] + (p[1] - q[1]) * (at - q[0]) / (p[0] - q[0]);
  };
  let here, from, hold, [hair, hand, pick, grid, out, reset, csv] = all(div, ".tool");
  let stand = (line, v, end = "") => {
    let s = x.s(x.p(v));
    set(line, "d", s > l - .1 && s < r + .1 ? `M${s} ${b}V${t}${end}` : "");
    return s;
  };
  let panel = {
    figure, x, of: label + data.x,
    read(v) {
      if (integer) v = Math.round(v);
      stand(hair, v);
      out.hidden = isNaN(v);
      out.textContent = label.replace(/\s\[(.*)\]|$/, ` ${write(v)} $1 `);
      // Faint curves have no name: they are in the CSV alone.
      let said = {"": 1};
      for (let c of curves) {
        let at = height(c, x.p(v)), {name} = c, bold = doc.createElement("b");
        if (at == null || said[name]) continue;
        out.append(said[name] = bold, " ");
        bold.textContent = `${name} ${write(y.v(at))}`;
        bold.style.color = c.ink;
      }
      out.append(unit);
    },
    time: v => filmed && (hold = stand(hand, v * filmed, "m-4 0h8l-4 5z")),
    zoom(low, high) {
      let zoomed = high - low < .999 * (r - l),
        seen = marks.flatMap(m => m.key.style.display ? [] : m.points.filter(([a]) => a > low && a < high).map(p => p[1]))
        .concat(curves.flatMap(c => [height(c, low), height(c, high)])).filter(isFinite),
        up = min(...seen), down = max(...seen), room = .06 * (down - up) + .01, fit = zoomed && seen[0];
      [x.low, x.high, y.low, y.high] = [low, high, fit ? down + room : b, fit ? up - room : t];
      for (let {node, d, points} of marks) {
        set(node, "d", d.replace(/(-?[\d.]+)\s(-?[\d.]+)/g, (_, a, b) => `${x.s(a)} ${y.s(b)}`));
        set(node, "x", x.s(points[0]?.[0]));
        set(node, "y", y.s(points[0]?.[1]));
      }
      div.classList.toggle("zoomed", zoomed);
      grid.innerHTML = zoomed ? [
        ...x.ticks().map(([s, v]) => `<path d="M${s} ${t}V${b}"/><text x="${s}" y="${b + 12}">${v}</text>`),
        ...y.ticks().map(([s, v]) => `<path d="M${l} ${s}H${r}"/><text x="${l + 3}" y="${s - 2}" class="y">${v}</text>`),
      ].join("") : "";
    },
  };
  let same = act => panels.forEach(p => p.of == panel.of && act(p)), read = v => same(p => p.read(v));
  let spread = (low, high) => {
    let ends = [max(low, l), min(high, r)].map(x.v);
    if (high - low > .001) same(p => p.figure == figure && p.zoom(...ends.map(p.x.p)));
    read(NaN);
  }, value = () => x.v(x.under(here)), seek = () => filmed && tell(value() / filmed, svg);
  svg.onpointerdown = svg.onpointermove = e => {
    let edge = svg.getBoundingClientRect();
    here = min(r, max(l, (e.x - edge.x) / edge.width * wide));
    read(value());
    if (e.type[7] == "d") {
      svg.setPointerCapture(e.pointerId);
      from = e.pointerType == "touch" || abs(here - hold) < 6 ? "in" : here;
    }
    if (from == "in") seek();
    else if (from) set(pick, "d", abs(here - from) > 4 ? `M${from} ${t}H${here}V${b}H${from}z` : "");
  };
  svg.onpointerup = svg.onpointercancel = () => {
    if (pick.getAttribute("d")) spread(x.under(min(from, here)), x.under(max(from, here)));
    else seek();
    set(pick, "d", from = "");
  };
  svg.onpointerleave = e => e.pointerType == "touch" || read(NaN);
  svg.tabIndex = 0;
  svg.onkeydown = e => {
    let h = (x.high - x.low) / 2, place = x.low + h, [far, by] =
      {"+": [0, .5], "-": [0, 2], ArrowLeft: [-.5, 1], ArrowRight: [.5, 1], 0: [0, 1e9]}[e.key] || [];
    if (!by) return;
    e.preventDefault();
    h = min(h * by, (r - l) / 2);
    place = max(l + h, min(r - h, place + far * h));
    spread(place - h, place + h);
  };
  svg.ondblclick = reset.onclick = () => spread(l, r);
  csv.onclick = () => Object.assign(doc.createElement("a"), {
    href: "data:text/csv," + encodeURIComponent([
      ["curve", label, unit],
      ...curves.flatMap(({key, name, points}) =>
        points.map(p => [`"${key.dataset.run || name}"`, x.say(x.v(p[0])), y.say(y.v(p[1]))])),
    ].join("\n")),
    download: svg.ariaLabel + ", as drawn.csv",
  }).click();
  return panel;
});

for (let key of all(doc, ".key")) {
  let own = all(key.closest("figure"), "[data-key]").filter(m => m.dataset.key == key.textContent);
  let show = shown => {
    key.ariaPressed = shown;
    for (let mark of own) mark.style.display = shown ? "" : "none";
  };
  key.onclick = () => show(key.ariaPressed != "true");
  key.disabled = !own[0] || show(true);
}

let film = doc.querySelector("video[data-film]");
doc.addEventListener("roboopt:time", ({detail: {time, source}}) => {
  panels.map(p => p.time(time));
  if (!film || source == film) return;
  film.pause();
  film.currentTime = film.heard = time;
});
if (film) {
  let say = () => abs(film.currentTime - film.heard) < .01 || tell(film.currentTime, film, !film.paused),
    play = film.onplay = () => {
    if (film.paused) return;
    film.heard = NaN;
    say();
    requestAnimationFrame(play);
  };
  film.onseeked = film.onpause = say;
  say();
  play();
}
}
