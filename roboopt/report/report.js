// Reads values from the SVG of a report's panels: cursor, zoom, legend, CSV.
//
// Time is told by the event "roboopt:time" on the document, with detail {time, source}:
// the time [s] of the filmed motion, and who tells it. The video (its <video>), the
// panels of <figure data-film> (their <svg>) and any other view of that motion tell
// where they are when they move by themselves, and follow what they hear from others.
//
// Names: v is a value, p a place (of a value, in what the paths say), and s the point
// where a zoomed panel shows a place; l, t, r and b are the edges of the axes.
{
const all = (root, what) => [...root.querySelectorAll(what)], {min, max, abs, log10} = Math;
const set = (node, name, value) => node.setAttribute(name, value);
const tell = (time, source) => document.dispatchEvent(new CustomEvent("roboopt:time", {detail: {time, source}}));
const write = (v, digits = 4) => `${+v.toPrecision(digits)}`;

const axis = (span, from, to) => {
  const [first, last, log] = span.split(" "), into = v => log ? log10(v) : +v;
  const start = into(first), unit = (into(last) - start) / (to - from), size = to - from;
  return {
    low: from, high: to,
    v: p => (v => log ? 10 ** v : v)(start + unit * (p - from)),
    p: v => from + (into(v) - start) / unit,
    s(p) { return from + size * (p - this.low) / (this.high - this.low) },
    under(s) { return this.low + (this.high - this.low) * (s - from) / size },
    ticks() {
      let a = this.v(this.low), b = this.v(this.high), powers = log && b > 9 * a, found = [];
      if (powers) [a, b] = [a, b].map(log10);
      const ten = 10 ** Math.floor(log10((b - a) / 5));
      const step = [1, 2, 2.5, 5, 10].map(s => s * ten).find(s => s >= (b - a) / 5 && !(powers && s % 1));
      for (let k = Math.ceil(a / step); k * step <= b; k++) found.push(powers ? 10 ** (k * step) : k * step);
      return found.map(v => [this.s(this.p(v)), write(v, 7)]);
    },
  };
};

const panels = all(document, "svg[data-box]").map(svg => {
  const {box, axis: label, unit, integer} = svg.dataset, [l, t, r, b] = box.split(" ").map(Number);
  const x = axis(svg.dataset.x, l, r), y = axis(svg.dataset.y, b, t), div = svg.parentNode;
  const figure = svg.closest("figure"), filmed = "film" in figure.dataset && label == "time [s]";
  const marks = all(svg, "path[clip-path], use[x]").filter(m => !m.closest(".tick, [id*=legend]")).map(node => {
    const d = node.getAttribute("d") ?? `M ${node.getAttribute("x")} ${node.getAttribute("y")}`;
    const points = [...d.matchAll(/([ML])\s(\S+)\s(\S+)/g)].map(m => [+m[2], +m[3], m[1] == "M"]);
    return {node, d, points, key: node.closest("[data-key]")};
  });
  const curves = all(svg, "[data-curve]").map(key => {
    const own = marks.filter(m => m.key == key), path = own.find(m => m.node.matches("path"));
    return {key, near: path ? .02 : 3, points: path?.points ?? own.flatMap(m => m.points)};
  });
  // The height of a curve over a place: of a point that is near, or between two.
  const height = ({key, points, near}, place) => {
    const i = points.findIndex(p => p[0] > place - near), p = points[i], q = points[i - 1];
    if (!p || key.style.display) return;
    if (p[0] < place + near) return p[1];
    if (q && near < 1 && !p[2]) return q[1] + (p[1] - q[1]) * (place - q[0]) / (p[0] - q[0]);
  };
  svg.insertAdjacentHTML("beforeend", `<path class="hair"/><path class="hand"/><path class="pick"/><g class="grid"/>`);
  div.insertAdjacentHTML("beforeend", "<output></output><button>reset zoom</button><button>CSV</button>");
  const [hair, hand, pick, grid] = all(svg, ".hair, .hand, .pick, .grid"), [out, reset, csv] = all(div, "output, button");
  const stand = (line, v, end = "") => {
    const s = x.s(x.p(v));
    set(line, "d", s > l - .1 && s < r + .1 ? `M${s} ${b}V${t}${end}` : "");
    return s;
  };
  let here, from, hold;
  const panel = {
    figure, label, x,
    read(v) {
      if (integer) v = Math.round(v);
      stand(hair, v);
      out.textContent = isNaN(v) ? "" : label.replace(/\s\[(.*)\]|$/, ` ${write(v)} $1 `);
      const said = {};
      for (const c of isNaN(v) ? [] : curves) {
        const at = height(c, x.p(v)), name = c.key.dataset.curve;
        if (at == null || said[name]) continue;
        out.append(said[name] = document.createElement("b"), " ");
        said[name].textContent = `${name} ${write(y.v(at))}`;
        said[name].style.color = c.key.querySelector("path, use").style.stroke;
      }
      if (!isNaN(v)) out.append(unit);
    },
    time: v => filmed && (hold = stand(hand, v, "m-5-6h10l-5 6z")),
    zoom(low, high) {
      const zoomed = high - low < .999 * (r - l), inside = p => p[0] > low && p[0] < high;
      Object.assign(x, {low, high});
      const seen = marks.filter(m => m.key && !m.key.style.display).flatMap(m => m.points.filter(inside).map(p => p[1]))
        .concat(curves.flatMap(c => [height(c, low), height(c, high)])).filter(isFinite);
      const up = min(...seen), down = max(...seen), room = .06 * (down - up) + .01, fit = zoomed && seen.length;
      Object.assign(y, fit ? {low: down + room, high: up - room} : {low: b, high: t});
      for (const {node, d, points} of marks) {
        set(node, "d", d.replace(/(-?[\d.]+)\s(-?[\d.]+)/g, (_, a, b) => `${x.s(a)} ${y.s(b)}`));
        set(node, "x", x.s(points[0]?.[0]));
        set(node, "y", y.s(points[0]?.[1]));
      }
      div.classList.toggle("zoomed", zoomed);
      grid.innerHTML = zoomed ? x.ticks().map(([s, v]) => `<path d="M${s} ${t}V${b}"/><text x="${s}" y="${b + 12}">${v}</text>`).concat(
        y.ticks().map(([s, v]) => `<path d="M${l} ${s}H${r}"/><text x="${l - 5}" y="${s + 3}" style="text-anchor:end">${v}</text>`)).join("") : "";
    },
  };
  const same = () => panels.filter(p => p.label == label), read = v => same().forEach(p => p.read(v));
  const spread = (low, high) => {
    const ends = [max(low, l), min(high, r)].map(x.v);
    if (high - low > .001) same().forEach(p => p.figure == figure && p.zoom(...ends.map(p.x.p)));
    read(NaN);
  };
  const value = () => x.v(x.under(here)), seek = () => filmed && tell(value(), svg);
  svg.onpointerdown = svg.onpointermove = event => {
    const edge = svg.getBoundingClientRect(), touch = event.pointerType == "touch";
    here = min(r, max(l, (event.clientX - edge.x) / edge.width * svg.viewBox.baseVal.width));
    read(value());
    if (event.type == "pointerdown") {
      svg.setPointerCapture(event.pointerId);
      from = touch || abs(here - hold) < 6 ? "grabbed" : here;
    }
    if (from == "grabbed") seek();
    else if (from) set(pick, "d", abs(here - from) > 4 ? `M${from} ${t}H${here}V${b}H${from}z` : "");
  };
  svg.onpointerup = svg.onpointercancel = () => {
    if (pick.getAttribute("d")) spread(x.under(min(from, here)), x.under(max(from, here)));
    else seek();
    set(pick, "d", from = "");
  };
  svg.onpointerleave = event => event.pointerType == "touch" || read(NaN);
  svg.ondblclick = reset.onclick = () => spread(l, r);
  svg.addEventListener("wheel", event => {
    if (!event.ctrlKey) return;
    event.preventDefault();
    const p = x.under(here), scale = Math.exp(event.deltaY / 200);
    spread(p - scale * (p - x.low), p + scale * (x.high - p));
  });
  csv.onclick = () => {
    const rows = curves.flatMap(c => c.points.map(p => `"${c.key.dataset.curve}",${write(x.v(p[0]), 6)},${write(y.v(p[1]), 6)}`));
    const href = URL.createObjectURL(new Blob([["curve", label, unit] + "\n" + rows.join("\n")]));
    Object.assign(document.createElement("a"), {href, download: svg.ariaLabel + ".csv"}).click();
  };
  return panel;
});

for (const key of all(document, ".key")) {
  const own = all(key.closest("figure"), "[data-key]").filter(m => m.dataset.key == key.textContent);
  const show = shown => {
    set(key, "aria-pressed", shown);
    for (const mark of own) mark.style.display = shown ? "" : "none";
  };
  key.onclick = () => show(key.ariaPressed != "true");
  key.disabled = !own.length || show(true);
}

const film = document.querySelector("video[data-film]");
document.addEventListener("roboopt:time", ({detail: {time, source}}) => {
  for (const panel of panels) panel.time(time);
  if (!film || source == film) return;
  film.pause();
  film.currentTime = film.heard = time;
});
if (film) {
  const play = () => {
    tell(film.currentTime, film);
    if (!film.paused) requestAnimationFrame(play);
  };
  film.onplay = play;
  film.onseeked = () => abs(film.currentTime - film.heard) < .01 || play();
  if (!film.paused) play();
}
}
