// The kernels as they run, with the code that was generated for each.

const COLUMNS = [
  ["", (k) => k.number, (k) => k.number + 1],
  ["kernel", (k) => k.name, (k) => html`<b>${k.name}</b> <span class="faint">${k.layer}</span>`],
  ["phase", (k) => k.phase, (k) => k.phase],
  ["FLOPs", (k) => k.flops, (k) => scaled(k.flops)],
];
const TIMED = [
  ["time", (k) => k.seconds, (k, most) => html`${seconds(k.seconds)}<span class="meter" style="width:${
    Math.round(30 * k.seconds / most)}px;margin-right:${30 - Math.round(30 * k.seconds / most)}px"></span>`],
  ["GFLOP/s", (k) => k.flops / k.seconds, (k) => (k.flops / k.seconds / 1e9).toFixed(1)],
  ["of limit", (k) => k.share, (k) => percent(k.share)],
];
const FORMS = {loops: "loop nest", llvm: "LLVM IR", asm: "assembly", cuda: "CUDA source"};

tabs.kernels = {
  title: "Kernels",
  shows: (run) => Boolean(run.kernels?.length),
  draw(view, run) {
    const kernels = run.kernels.map((kernel, number) => ({...kernel, number}));
    const timed = kernels[0].seconds !== undefined;
    const columns = timed ? [...COLUMNS, ...TIMED] : COLUMNS;
    const most = Math.max(...kernels.map((k) => k.seconds ?? 0));
    const list = element(html`<div class="kernels"><table><thead><tr>${columns.map(([title], k) =>
      html`<th class="sortable ${k === 1 ? "" : "number"}">${title || "#"}</th>`)}</tr></thead><tbody></tbody></table></div>`);
    const detail = element(html`<section class="detail"></section>`);
    view.append(list, detail);
    const body = $("tbody", list);
    const rows = new Map(kernels.map((kernel) => {
      const row = element(html`<table><tbody><tr class="pickable">${columns.map(([, , cell], k) =>
        html`<td class="${k === 1 ? "" : "number"}">${cell(kernel, most)}</td>`)}</tr></tbody></table>`);
      return [kernel.number, $("tr", row)];
    }));
    const pick = (number) => {
      rows.get(state.kernel)?.classList.remove("picked");
      state.kernel = number;
      rows.get(number).classList.add("picked");
      drawKernel(detail, run, run.kernels[number]);
    };
    for (const [number, row] of rows) row.onclick = () => pick(number);
    let [by, descending] = [0, false];
    const sort = () => {
      const value = columns[by][1];
      const order = [...kernels].sort((a, b) => (value(a) > value(b) ? 1 : value(a) < value(b) ? -1 : 0));
      if (descending) order.reverse();
      body.replaceChildren(...order.map((kernel) => rows.get(kernel.number)));
    };
    list.querySelectorAll("th").forEach((head, k) => {
      head.onclick = () => {
        [by, descending] = [k, by === k ? !descending : k > 1];
        sort();
      };
    });
    sort();
    pick(state.kernel in run.kernels ? state.kernel : 0);
    rows.get(state.kernel).scrollIntoView({block: "center"});
    return () => {
      let count = 0;
      for (const kernel of kernels) {
        const hit = matches(kernel.name, kernel.node, kernel.layer, kernel.type, kernel.schedule,
                            ...kernel.ops, ...kernel.reads, ...kernel.lines, ...kernel.origins);
        rows.get(kernel.number).style.display = hit ? "" : "none";
        count += hit;
      }
      return count;
    };
  },
};

function drawKernel(detail, run, kernel) {
  const texts = run.codes[run.code_of[run.kernels.indexOf(kernel)]] ?? {};
  const forms = run.forms.filter((form) => form in texts);
  if (!forms.includes(state.form)) state.form = forms[0];
  const fact = (label, value) => value ? html`<div><div class="label">${label}</div>${value}</div>` : "";
  const heading = element(html`<div class="facts">
    ${fact("kernel", html`<b>${kernel.name}</b>`)}
    ${fact("ops fused", kernel.ops.join(" "))}
    ${fact("computes", html`%${kernel.node} : <span class="mono">${kernel.type}</span>`)}
    ${fact("reads", kernel.reads.join(", "))}
    ${fact("schedule", kernel.schedule)}
    ${fact("layer", kernel.layer)}
    ${fact("written at", kernel.lines.join(", "))}
    ${fact("made for", kernel.origins.slice(0, 4).join(", "))}
    ${fact("memory read and written", scaled(kernel.bytes, "B"))}
    ${kernel.seconds === undefined ? "" : [
      fact("time", seconds(kernel.seconds)), fact("waiting before", seconds(kernel.waiting)),
      fact("of the machine's limit", percent(kernel.share)),
      fact("spills in inner loops", String(kernel.spills))]}
  </div>`);
  const bar = element(html`<div class="bar"></div>`);
  const code = element(html`<div class="text"><pre></pre></div>`);
  const choose = (form) => {
    state.form = form;
    bar.replaceChildren(...forms.map((each) => {
      const button = element(html`<button>${FORMS[each] ?? each}</button>`);
      button.setAttribute("aria-selected", each === form);
      button.onclick = () => choose(each);
      return button;
    }));
    $("pre", code).textContent = texts[form] ?? "";
    $("pre", code).style.padding = "0 14px";
  };
  if (forms.length) choose(state.form);
  detail.replaceChildren(heading, bar, code);
}
