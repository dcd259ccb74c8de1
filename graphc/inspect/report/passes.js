// The passes in order, the graph before and after each; and gradients beside what they are of.

tabs.passes = {
  title: "Passes",
  shows: () => true,
  draw(view, run) {
    const first = run.passes.findIndex((p) => p.before !== p.after);
    state.pass ??= Math.max(first, run.passes.length ? 0 : -1);
    const side = element(html`<aside class="side"></aside>`);
    const body = element(html`<section class="body"></section>`);
    side.append(...[-1, ...run.passes.keys()].map((k) => passButton(run, k)));
    view.append(side, body);
    $('[aria-current="true"]', side)?.scrollIntoView({block: "nearest"});
    return drawPass(body, run, state.pass);
  },
};

function passButton(run, k) {
  const pass = run.passes[k];
  const changed = pass && pass.before !== pass.after;
  const button = element(html`<button class="row" aria-current="${k === state.pass}">
    <b>${k + 1}  ${pass ? pass.name : "the graph"}</b>
    <span class="mono faint">${pass ? html`${seconds(pass.seconds)} ` : ""}${
      !pass ? html`${run.graphs[0].nodes.length} nodes` : !changed ? "nothing changed"
      : html`<span class="minus">\u2212${pass.removed.length}</span> <span class="plus">+${
        pass.added.length}</span> <span class="other">~${pass.changed[1].length}</span>`}</span></button>`);
  if (k === state.pass) button.style.borderColor = "var(--accent)";
  button.onclick = () => show("passes", {pass: k});
  return button;
}

function drawPass(body, run, number) {
  const pass = run.passes[number];
  const heading = element(html`<div class="bar"><h2>${pass ? pass.name : run.graphs[0].name}</h2>
    ${pass ? html`<span class="faint">${seconds(pass.seconds)}</span>` : ""}
    ${pass?.rules.map(([name, count]) => html`<span class="rule" title="rule fired">${name} \u00d7${count}</span>`)}
    <span class="right faint">drag to move, wheel to zoom</span></div>`);
  body.append(heading);
  if (pass && pass.before !== pass.after) {
    $(".right", heading).before(changesToggle());
    if (state.text) return drawDifference(body, pass);
  }
  const panes = element(html`<div class="panes"></div>`);
  const drawer = element(html`<div class="drawer" hidden></div>`);
  body.append(panes, drawer);
  const both = pass && pass.before !== pass.after;
  const last = run.graphs[pass ? pass.after : 0];
  const made = both
    ? [pane("before", run.graphs[pass.before], [...pass.removed, ...pass.changed[0]]),
       pane("after", last, [...pass.added, ...pass.changed[1]])]
    : [pane(pass ? "nothing changed" : "the graph", last, [])];
  panes.append(...made);
  const drawings = made.map((each) => each.draw());
  if (both) {
    drawings[0].mark("removed", pass.removed);
    drawings[0].mark("changed", pass.changed[0]);
    drawings[1].mark("added", pass.added);
    drawings[1].mark("changed", pass.changed[1]);
  }
  for (const drawing of drawings) {
    const others = drawings.filter((other) => other !== drawing);
    drawing.picked = (n) => pickNode(drawing, others, n, drawer);
    drawing.went = (n) => others.forEach((other) => other.follow(drawing, n));
  }
  if (both && !(pass.removed.length + pass.changed[0].length)) drawings[0].follow(drawings[1], made[1].first());
  return (next) => Math.max(...drawings.map((drawing) => drawing.search(next)));
}

function changesToggle() {
  const button = element(html`<button>${state.text ? "drawing" : "text difference"}</button>`);
  button.onclick = () => show("passes", {text: !state.text});
  return button;
}

function pickNode(drawing, others, n, drawer) {
  drawing.pick(n);
  const texts = [drawing.nodes[n][1]];
  for (const other of others) {
    const there = other.follow(drawing, n);
    other.pick(there ?? -1);
    if (there !== undefined) texts.push(other.nodes[there][1]);
  }
  drawer.hidden = false;
  drawer.replaceChildren(element(html`<pre>${[...new Set(texts)].join("\n")}</pre>`));
}

function drawDifference(body, pass) {
  const kinds = {"+": "plus", "-": "minus", "@": "hunk"};
  const lines = pass.diff.split("\n").slice(2);
  const text = element(html`<div class="text"><pre>${lines.map(
    (line) => html`<span class="${kinds[line[0]] ?? ""}">${line}</span>`)}</pre></div>`);
  body.append(text);
  const rows = [...text.querySelectorAll("span")];
  return () => {
    let count = 0;
    for (const row of rows) {
      const hit = matches(row.textContent);
      row.style.display = hit ? "" : "none";
      count += hit;
    }
    return count;
  };
}

tabs.gradients = {
  title: "Gradients",
  shows: (run) => run.gradients.rows.length > 0,
  draw(view, run) {
    const {rows, optimizer} = run.gradients;
    const chip = (side) => ([name, type, text]) =>
      html`<span class="chip ${side}" title="${text}"><b>${name}</b> <span class="faint mono">${type}</span></span>`;
    const work = rows.reduce(([a, b], row) => [a + row.flops[0], b + row.flops[1]], [0, 0]);
    const scroll = element(html`<div class="scroll"><table class="pairs"><thead><tr><th>layer</th>
      <th>forward</th><th class="number">FLOPs, ${scaled(work[0])}</th><th>its gradient</th>
      <th class="number">FLOPs, ${scaled(work[1])}</th><th>keeps until then</th></tr></thead><tbody>${
      rows.map((row) => html`<tr><td>${row.layer} <span class="faint">${row.line}</span></td>
        <td>${chip("forward")(row.forward)}</td><td class="number">${row.flops[0] ? scaled(row.flops[0]) : ""}</td>
        <td>${row.backward.length ? row.backward.map(chip("backward")) : html`<span class="faint">what it gets, unchanged</span>`}</td>
        <td class="number">${row.flops[1] ? scaled(row.flops[1]) : ""}</td>
        <td class="faint">${row.keeps.join(", ")}</td></tr>`)}
      <tr><td>optimizer</td><td></td><td></td><td colspan="3">${optimizer.map(chip("backward"))}</td></tr>
      </tbody></table></div>`);
    view.append(scroll);
    return () => filterRows([...scroll.querySelectorAll("tbody tr")]);
  },
};

function filterRows(rows) {
  let count = 0;
  for (const row of rows) {
    const titles = [...row.querySelectorAll("[title]")].map((chip) => chip.title).join(" ");
    const hit = matches(row.textContent, titles);
    row.style.display = hit ? "" : "none";
    count += hit;
  }
  return count;
}
