// Charts: memory over phases, kernels under the roofline, and kernels over time.

const LEFT = 62, RIGHT = 18, TOP = 22, BOTTOM = 38;
const KINDS = ["contraction", "reduction", "view", "input"];
const kindOf = (ops) => ops.some((op) => /conv|matmul|einsum|dense|winograd/.test(op)) ? "contraction"
  : ops.some((op) => /pool|sum|max|mean/.test(op)) ? "reduction"
  : ops.some((op) => /relayout|pad|transpose|copy|slice/.test(op)) ? "view" : "input";
const KIND_NAMES = {contraction: "products", reduction: "reductions", view: "views", input: "elementwise"};

const svgName = "http://www.w3.org/2000/svg";
function shape(name, attributes, text) {
  const made = document.createElementNS(svgName, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  if (text !== undefined) made.textContent = text;
  return made;
}

// A chart that fills `view`, draws itself again when the size changes, and zooms along x.
function chart(view, facts, paint, zooms) {
  const body = element(html`<section class="body"><div class="bar">${facts}</div><div class="chart"></div></section>`);
  view.append(body);
  const holder = $(".chart", body);
  const window_ = {begin: 0, end: 1};
  let marks = [];
  const again = () => {
    const [width, height] = [holder.clientWidth, holder.clientHeight];
    const svg = shape("svg", {viewBox: `0 0 ${width} ${height}`});
    holder.replaceChildren(svg);
    marks = paint(svg, width, height, window_) ?? [];
    for (const {mark, text, open} of marks) {
      mark.onpointermove = (event) => tip(event, text);
      mark.onpointerleave = () => tip(null, "");
      if (open) mark.onclick = open;
    }
    if (state.query) search();
  };
  const count = () => {
    const hits = marks.filter(({text}) => state.query && matches(text));
    for (const {mark} of marks) mark.classList.remove("hit");
    for (const {mark} of hits) mark.classList.add("hit");
    return hits.length;
  };
  if (zooms) zoomable(holder, window_, again);
  new ResizeObserver(again).observe(holder);
  return count;
}

function zoomable(holder, window_, again) {
  const clamp = () => {
    const span = Math.min(1, window_.end - window_.begin);
    window_.begin = Math.max(0, Math.min(1 - span, window_.begin));
    window_.end = window_.begin + span;
    requestAnimationFrame(again);
  };
  const inside = () => holder.clientWidth - LEFT - RIGHT;
  holder.addEventListener("wheel", (event) => {
    event.preventDefault();
    const span = window_.end - window_.begin;
    const share = (event.clientX - holder.getBoundingClientRect().left - LEFT) / inside();
    const at = window_.begin + span * Math.min(1, Math.max(0, share));
    const more = Math.min(1, Math.max(1e-4, span * Math.exp(event.deltaY * 0.0015)));
    window_.begin = at - (at - window_.begin) * more / span;
    window_.end = window_.begin + more;
    clamp();
  }, {passive: false});
  let from = null;
  holder.onpointerdown = (event) => { from = event.clientX; };
  holder.onpointermove = (event) => {
    if (from === null || !(event.buttons & 1)) { from = null; return; }
    const by = (from - event.clientX) / inside() * (window_.end - window_.begin);
    window_.begin += by;
    window_.end += by;
    from = event.clientX;
    clamp();
  };
}

// Round numbers that cut 0..most into about `count` parts.
function ticks(low, high, count) {
  const rough = (high - low) / count, power = 10 ** Math.floor(Math.log10(rough || 1));
  const step = [1, 2, 5, 10].map((m) => m * power).find((s) => s >= rough) ?? power;
  const found = [];
  for (let t = Math.ceil(low / step) * step; t <= high + step * 1e-9; t += step) found.push(t);
  return found;
}

function axes(svg, width, height, xs, ys, xTitle, yTitle) {
  for (const [y, text] of ys) {
    svg.append(shape("line", {class: "grid", x1: LEFT, x2: width - RIGHT, y1: y, y2: y}),
               shape("text", {x: LEFT - 6, y: y + 4, "text-anchor": "end"}, text));
  }
  for (const [x, text] of xs) {
    svg.append(shape("line", {class: "grid", x1: x, x2: x, y1: TOP, y2: height - BOTTOM}),
               shape("text", {x, y: height - BOTTOM + 15, "text-anchor": "middle"}, text));
  }
  svg.append(shape("line", {class: "axis", x1: LEFT, x2: LEFT, y1: TOP, y2: height - BOTTOM}),
             shape("line", {class: "axis", x1: LEFT, x2: width - RIGHT, y1: height - BOTTOM, y2: height - BOTTOM}),
             shape("text", {x: (LEFT + width) / 2, y: height - 6, "text-anchor": "middle"}, xTitle),
             shape("text", {x: LEFT - 6, y: TOP - 5}, yTitle));
}

const legend = (kinds) => html`<span class="right">${kinds.map((kind) => html`<span><span class="meter"
  style="width:10px;background:var(--${kind})"></span> ${KIND_NAMES[kind]}</span>`)}</span>`;

tabs.memory = {
  title: "Memory",
  shows: (run) => Boolean(run.memory?.blocks.length),
  draw(view, run) {
    const {arena, total, inputs, phases, blocks} = run.memory;
    const live = Array.from({length: phases}, () => 0);
    for (const b of blocks) for (let p = b.first; p <= b.last; p += 1) live[p] += b.size;
    const facts = html`<h2>one arena of ${scaled(arena, "B")}</h2><span class="faint">for
      ${blocks.length} values of ${scaled(total, "B")}, ${scaled(Math.max(...live), "B")} at once (dashed);
      inputs, parameters and states: ${scaled(inputs, "B")}; wheel to zoom, drag to move</span>${legend(KINDS)}`;
    const ops = Object.fromEntries(run.kernels.map((k) => [k.node, k.ops]));
    return chart(view, facts, (svg, width, height, {begin, end}) => {
      const x = (phase) => LEFT + (phase / phases - begin) / (end - begin) * (width - LEFT - RIGHT);
      const y = (bytes) => height - BOTTOM - bytes / arena * (height - TOP - BOTTOM);
      axes(svg, width, height,
           ticks(begin * phases, end * phases, 12).filter(Number.isInteger).map((t) => [x(t), t]),
           ticks(0, arena, 6).map((t) => [y(t), scaled(t, "B")]), "phase", "place in the arena");
      const inside = shape("svg", {x: LEFT, y: TOP, width: Math.max(1, width - LEFT - RIGHT),
        height: Math.max(1, height - TOP - BOTTOM),
        viewBox: `${LEFT} ${TOP} ${Math.max(1, width - LEFT - RIGHT)} ${Math.max(1, height - TOP - BOTTOM)}`});
      svg.append(inside);
      const marks = blocks.map((b) => {
        const high = Math.max(1, y(b.offset) - y(b.offset + b.size) - 0.5);
        const mark = shape("rect", {class: "mark", x: x(b.first), width: Math.max(1, x(b.last + 1) - x(b.first)),
          y: y(b.offset + b.size), height: high, fill: `var(--${kindOf(ops[b.name] ?? [])})`, "fill-opacity": 0.62});
        inside.append(mark);
        const wide = x(b.last + 1) - x(b.first);
        if (high > 13 && wide > b.name.length * 6.4) {
          inside.append(shape("text", {x: Math.max(LEFT, x(b.first)) + 4, y: y(b.offset + b.size) + 12,
            "pointer-events": "none", style: "fill:var(--ink)"}, b.name));
        }
        const text = `${b.name} : ${b.type}\n${scaled(b.size, "B")} at ${scaled(b.offset, "B")}, `
          + `phases ${b.first} to ${b.last}\nread by ${b.readers.join(", ") || "nobody"}`;
        return {mark, text, open: () => openKernel(run, b.name)};
      });
      const line = live.map((bytes, p) => `${x(p)},${y(bytes)} ${x(p + 1)},${y(bytes)}`).join(" ");
      inside.append(shape("polyline", {class: "live", points: line, "pointer-events": "none"}));
      return marks;
    }, true);
  },
};

function openKernel(run, node) {
  const number = run.kernels.findIndex((kernel) => kernel.node === node);
  if (number >= 0) show("kernels", {kernel: number});
}

const timedKernels = (run) => (run.kernels ?? []).map((k, number) => ({...k, number}))
  .filter((k) => k.seconds > 0);

tabs.roofline = {
  title: "Roofline",
  shows: (run) => Boolean(run.profile && timedKernels(run).length),
  draw(view, run) {
    const {flops_per_second: peak, bytes_per_second: stream, threads, batch} = run.profile;
    const kernels = timedKernels(run).filter((k) => k.flops > 0);
    const points = kernels.map((k) => [k.flops / Math.max(k.bytes, 1), k.flops / k.seconds]);
    const ridge = peak / stream;
    const bounds = (values) => [Math.floor(Math.log10(Math.min(...values))), Math.ceil(Math.log10(Math.max(...values)) + 0.05)];
    const [x0, x1] = bounds([...points.map((p) => p[0]), ridge / 10, ridge * 2]);
    const [y0, y1] = bounds([...points.map((p) => p[1]), peak, peak / 100]);
    const work = kernels.reduce((sum, k) => sum + k.flops, 0);
    const facts = html`<h2>${scaled(peak, "FLOP/s")} and ${scaled(stream, "B/s")}</h2><span class="faint">
      measured on this machine, ${threads} thread${threads > 1 ? "s" : ""}; the step, batch ${batch}: ${
      seconds(run.profile.seconds)}, ${scaled(work / run.profile.seconds, "FLOP/s")}; a point's size is its
      time</span>${legend(KINDS)}`;
    const longest = Math.max(...kernels.map((k) => k.seconds));
    return chart(view, facts, (svg, width, height) => {
      const x = (v) => LEFT + (Math.log10(v) - x0) / (x1 - x0) * (width - LEFT - RIGHT);
      const y = (v) => height - BOTTOM - (Math.log10(v) - y0) / (y1 - y0) * (height - TOP - BOTTOM);
      const powers = (low, high) => Array.from({length: high - low + 1}, (_, k) => 10 ** (low + k));
      axes(svg, width, height, powers(x0, x1).map((v) => [x(v), Number(v.toPrecision(1))]),
           powers(y0, y1).map((v) => [y(v), Number((v / 1e9).toPrecision(1))]),
           "arithmetic intensity, FLOPs a byte", "GFLOP/s");
      const low = Math.max(10 ** x0, 10 ** y0 / stream);
      svg.append(shape("polyline", {class: "limit",
        points: `${x(low)},${y(low * stream)} ${x(ridge)},${y(peak)} ${x(10 ** x1)},${y(peak)}`}));
      const order = kernels.map((k, at) => [k, points[at]]).sort((a, b) => b[0].seconds - a[0].seconds);
      return order.map(([k, [intensity, rate]]) => {
        const mark = shape("circle", {class: "mark", cx: x(intensity), cy: y(rate),
          r: 3 + 11 * Math.sqrt(k.seconds / longest), fill: `var(--${kindOf(k.ops)})`, "fill-opacity": 0.72});
        svg.append(mark);
        const text = `${k.name} ${k.layer}\n${k.ops.join(" ")}\n${(rate / 1e9).toFixed(1)} GFLOP/s at `
          + `${intensity.toPrecision(3)} FLOPs a byte: ${percent(k.share)} of the limit\n${seconds(k.seconds)}, [${k.schedule}]`;
        return {mark, text, open: () => show("kernels", {kernel: k.number})};
      });
    }, false);
  },
};

tabs.timeline = {
  title: "Timeline",
  shows: (run) => Boolean(run.profile && timedKernels(run).some((k) => k.spans.length)),
  draw(view, run) {
    const kernels = timedKernels(run);
    const threads = Math.max(...kernels.map((k) => k.spans.length));
    const whole = Math.max(...kernels.flatMap((k) => k.spans.map(([, end]) => end)));
    const busy = kernels.reduce((sum, k) => sum + k.spans.reduce((s, [b, e]) => s + e - b, 0), 0);
    const body = element(html`<section class="body"></section>`);
    view.append(body);
    const layers = layerTable(run);
    const facts = html`<h2>${kernels.length} kernels in ${seconds(whole)}</h2><span class="faint">one native call,
      batch ${run.profile.batch}, ${threads} thread${threads > 1 ? "s" : ""}, busy ${percent(busy / whole / threads)}
      of the time; wheel to zoom, drag to move</span>${legend(KINDS)}`;
    const count = chart(body, facts, (svg, width, height, {begin, end}) => {
      const x = (t) => LEFT + (t / whole - begin) / (end - begin) * (width - LEFT - RIGHT);
      const lane = Math.min(110, (height - TOP - BOTTOM) / threads);
      const unit = whole * (end - begin) < 2e-3 ? [1e6, "\u00b5s"] : [1e3, "ms"];
      axes(svg, width, height, ticks(begin * whole * unit[0], end * whole * unit[0], 10)
        .map((t) => [x(t / unit[0]), Number(t.toPrecision(6))]),
        Array.from({length: threads}, (_, k) => [TOP + lane * (k + 0.5), `thread ${k}`]), unit[1], "");
      const wide = Math.max(1, width - LEFT - RIGHT);
      const inside = shape("svg", {x: LEFT, y: 0, width: wide, height, viewBox: `${LEFT} 0 ${wide} ${height}`});
      svg.append(inside);
      const marks = [];
      for (const k of kernels) {
        k.spans.forEach(([from, to], thread) => {
          const [a, b] = [x(from), x(to)];
          if (to <= from || b < LEFT || a > width - RIGHT) return;
          const mark = shape("rect", {class: "mark", x: a, y: TOP + lane * thread + lane * 0.12,
            width: Math.max(0.6, b - a), height: lane * 0.76, fill: `var(--${kindOf(k.ops)})`, "fill-opacity": 0.75});
          inside.append(mark);
          const left = Math.max(a, LEFT);
          if (b - left > k.name.length * 6.2 + 8) {
            inside.append(shape("text", {x: left + 4, y: TOP + lane * (thread + 0.5) + 4,
              "pointer-events": "none", style: "fill:var(--ink)"}, k.name));
          }
          const text = `${k.name} ${k.layer}\n${seconds(to - from)} on thread ${thread}, from ${seconds(from)}`
            + `\n${percent(k.share)} of the limit, [${k.schedule}]`;
          marks.push({mark, text, open: () => show("kernels", {kernel: k.number})});
        });
      }
      return marks;
    }, true);
    if (!layers) return count;
    body.append(layers);
    return () => count() + filterRows([...layers.querySelectorAll("tbody tr")]);
  },
};

// The layers by their contractions, in the arithmetic of plain sums; a click shows the kernel.
function layerTable(run) {
  if (!run.profile.layers.length) return null;
  const table = element(html`<div class="scroll layers"><table><thead><tr><th>layer</th><th>computes</th>
    <th class="number">kernels</th><th class="number">FLOPs as a plain sum</th><th class="number">time</th>
    <th class="number">GFLOP/s</th><th class="number">of the machine's peak</th></tr></thead><tbody>${
    run.profile.layers.map((part) => html`<tr class="pickable" data-kernel="${part.kernels[0]}"><td><b>${
      part.layer}</b></td><td>${part.op}</td><td class="number">${part.kernels.length}</td><td class="number">${
      scaled(part.flops)}</td><td class="number">${seconds(part.seconds)}</td><td class="number">${
      (part.flops / part.seconds / 1e9).toFixed(1)}</td><td class="number">${percent(part.share)}<span class="meter"
      style="width:${Math.round(Math.min(part.share, 4) * 40)}px"></span></td></tr>`)}</tbody></table></div>`);
  for (const row of table.querySelectorAll("tbody tr")) {
    row.onclick = () => show("kernels", {kernel: Number(row.dataset.kernel)});
  }
  return table;
}
