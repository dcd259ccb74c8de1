// A drawing that can be moved, zoomed, searched, and asked about its nodes.

const LEAST_ZOOM = 0.04, MOST_ZOOM = 4, READABLE = 0.8;

class Drawing {
  // canvas: the element to draw in; svg: text; nodes: [name, text, layer] by place.
  constructor(canvas, svg, nodes) {
    this.canvas = canvas;
    this.nodes = nodes;
    canvas.innerHTML = svg;
    this.svg = $("svg", canvas);
    this.size = [Number(this.svg.getAttribute("width")), Number(this.svg.getAttribute("height"))];
    this.boxes = new Map([...this.svg.querySelectorAll("g[data-n]")].map((g) => [Number(g.dataset.n), g]));
    this.lines = new Map();
    for (const line of this.svg.querySelectorAll("text[data-to]")) {
      const to = Number(line.dataset.to);
      if (!this.lines.has(to)) this.lines.set(to, []);
      this.lines.get(to).push(line);
    }
    this.picked = () => {};
    this.went = () => {};
    this.at = 0;
    this.listen();
    this.reset();
  }

  listen() {
    const canvas = this.canvas;
    let from = null, moved = 0;
    canvas.onpointerdown = (event) => {
      from = [event.clientX, event.clientY];
      moved = 0;
    };
    canvas.onpointermove = (event) => {
      if (!from) return;
      const dx = event.clientX - from[0], dy = event.clientY - from[1];
      moved += Math.abs(dx) + Math.abs(dy);
      if (moved > 4 && !canvas.hasPointerCapture(event.pointerId)) {
        canvas.setPointerCapture(event.pointerId);
        canvas.classList.add("moving");
      }
      from = [event.clientX, event.clientY];
      this.move(this.x + dx, this.y + dy);
    };
    canvas.onpointerup = canvas.onpointercancel = () => {
      from = null;
      canvas.classList.remove("moving");
    };
    canvas.onclick = (event) => {
      if (moved > 4) return;
      const line = event.target.closest("text[data-to]");
      const box = event.target.closest("g[data-n]");
      if (line && this.boxes.has(Number(line.dataset.to))) this.go(Number(line.dataset.to));
      if (line || box) this.picked(Number(line ? line.dataset.to : box.dataset.n));
    };
    canvas.addEventListener("wheel", (event) => {
      event.preventDefault();
      if (event.shiftKey) { this.move(this.x - event.deltaY - event.deltaX, this.y); return; }
      const box = canvas.getBoundingClientRect();
      this.zoom(Math.exp(-event.deltaY * 0.0015), event.clientX - box.left, event.clientY - box.top);
    }, {passive: false});
  }

  move(x, y, scale = this.scale) {
    [this.x, this.y, this.scale] = [x, y, scale];
    this.svg.style.transform = `translate(${x}px, ${y}px) scale(${scale})`;
  }

  zoom(factor, x = this.canvas.clientWidth / 2, y = this.canvas.clientHeight / 2) {
    const scale = Math.min(MOST_ZOOM, Math.max(LEAST_ZOOM, this.scale * factor));
    const by = scale / this.scale;
    this.move(x - (x - this.x) * by, y - (y - this.y) * by, scale);
  }

  fit() {
    const wide = this.canvas.clientWidth, high = this.canvas.clientHeight;
    const scale = Math.max(LEAST_ZOOM, Math.min(wide / this.size[0], high / this.size[1], 1.2));
    this.move((wide - this.size[0] * scale) / 2, Math.max(0, (high - this.size[1] * scale) / 2), scale);
  }

  // The whole width if that is readable, else the first node in the middle.
  reset() {
    const scale = Math.min(1, Math.max(READABLE, this.canvas.clientWidth / this.size[0]));
    this.move(0, 0, scale);
    const first = this.boxes.keys().next();
    if (this.size[0] * scale <= this.canvas.clientWidth) {
      this.move((this.canvas.clientWidth - this.size[0] * scale) / 2, 0);
    } else if (!first.done) {
      this.go(first.value, 0.06);
    }
  }

  // The element that shows a node: its box, or a line in a box that reads it.
  place(n) {
    return this.boxes.get(n) ?? this.lines.get(n)?.[0]?.closest("g[data-n]");
  }

  corner(n) {
    const box = this.place(n);
    return box ? /translate\((\S+) (\S+)\)/.exec(box.getAttribute("transform")).slice(1).map(Number) : [0, 0];
  }

  go(n, height = 0.4) {
    const box = this.place(n);
    if (!box) return;
    const [x, y] = this.corner(n);
    const width = Number($("rect", box).getAttribute("width"));
    this.move(this.canvas.clientWidth / 2 - (x + width / 2) * this.scale,
              this.canvas.clientHeight * height - y * this.scale);
  }

  // Shows what another drawing shows at `n`: the node of that name, or the first that is near it.
  follow(other, n) {
    const near = [...other.svg.querySelectorAll(`path[data-e^="${n} "], path[data-e$=" ${n}"]`)]
      .flatMap((edge) => edge.dataset.e.split(" ").map(Number));
    const written = [...other.place(n)?.querySelectorAll("text[data-to]") ?? []].map((t) => Number(t.dataset.to));
    this.byName ??= new Map(this.nodes.map(([name], k) => [name, k]));
    const there = [n, ...near, ...written].map((k) => this.byName.get(other.nodes[k][0]))
      .find((k) => k !== undefined && this.boxes.has(k));
    if (there !== undefined) this.go(there, 0.3);
    return this.byName.get(other.nodes[n][0]);
  }

  mark(kind, places) {
    for (const n of places) {
      this.boxes.get(n)?.classList.add(kind);
      for (const line of this.lines.get(n) ?? []) if (!this.boxes.has(n)) line.classList.add(kind);
    }
  }

  pick(n) {
    for (const old of this.svg.querySelectorAll(".picked")) old.classList.remove("picked");
    this.place(n)?.classList.add("picked");
    for (const edge of this.svg.querySelectorAll(`path[data-e^="${n} "], path[data-e$=" ${n}"]`)) {
      edge.classList.add("picked");
    }
  }

  // Marks the nodes that match, goes to the next of them if asked; returns how many there are.
  search(next) {
    const hits = [];
    for (const [n, box] of this.boxes) {
      const [name, text, layer] = this.nodes[n];
      const hit = state.query && matches(name, text, layer, box.textContent);
      box.classList.toggle("hit", Boolean(hit));
      if (hit) hits.push(n);
    }
    if (hits.length) this.go(hits[next ? (this.at = (this.at + 1) % hits.length) : (this.at = 0)]);
    return hits.length;
  }
}

// The layers in the order of the graph, each by its first node, with how much of it changed.
function layerChoice(graph, places) {
  const first = new Map(), changes = new Map();
  graph.nodes.forEach(([, , layer], n) => { if (layer && !first.has(layer)) first.set(layer, n); });
  for (const n of places) {
    const layer = graph.nodes[n][2];
    changes.set(layer, (changes.get(layer) ?? 0) + 1);
  }
  if (!first.size) return "";
  return html`<select title="go to a layer"><option>layer\u2026</option>${[...first].map(([layer, n]) =>
    html`<option value="${n}">${layer}${changes.has(layer) ? ` (${changes.get(layer)} changes)` : ""}</option>`)}</select>`;
}

// A pane: a heading, buttons, and the drawing under them.
function pane(title, graph, places) {
  const made = element(html`<section class="pane"><div class="bar"><b>${title}</b>
    <span class="faint">${graph.nodes.length} nodes</span><span class="right">${layerChoice(graph, places)}
    ${places.length ? html`<button class="next">next change</button>` : ""}
    <button class="out" title="smaller">&#8722;</button><button class="in" title="larger">+</button>
    <button class="fit">fit</button></span></div><div class="canvas"></div></section>`);
  let at = -1;
  made.draw = () => {
    const drawing = new Drawing($(".canvas", made), graph.svg, graph.nodes);
    $(".in", made).onclick = () => drawing.zoom(1.3);
    $(".out", made).onclick = () => drawing.zoom(1 / 1.3);
    $(".fit", made).onclick = () => drawing.fit();
    if (places.length) {
      const down = [...places].sort((a, b) => drawing.corner(a)[1] - drawing.corner(b)[1]);
      const next = () => {
        at = (at + 1) % down.length;
        drawing.go(down[at], 0.3);
        drawing.went(down[at]);
      };
      $(".next", made).onclick = next;
      made.first = () => down[0];
      next();
    }
    const choice = $("select", made);
    if (choice) {
      choice.onchange = () => {
        drawing.go(Number(choice.value), 0.15);
        drawing.went(Number(choice.value));
        choice.selectedIndex = 0;
      };
    }
    return drawing;
  };
  return made;
}
