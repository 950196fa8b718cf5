"use strict";
// Shows the page's numbers anew, and the account of whoever looks. Nothing is stored.

const EVERY_MILLISECONDS = 10000;
const place = (name) => document.getElementById(name);
const known = document.querySelector("[data-known]").dataset.known === "true";
let token = null;
let asked = 0;
let again = false; // a token that was refused is not sent again

async function refresh() {
  const answer = await fetch("/", { cache: "no-store" });
  if (!answer.ok) return;
  const page = new DOMParser().parseFromString(await answer.text(), "text/html");
  for (const name of ["served", "load", "latency"]) {
    const found = page.getElementById(name);
    if (found && found.innerHTML !== place(name).innerHTML) {
      place(name).replaceChildren(...found.childNodes);
    }
  }
}

async function showAccount() {
  if (token === null && !known) return;
  const mine = ++asked;
  const headers = token === null ? {} : { authorization: `Bearer ${token}` };
  let shown;
  try {
    const answer = await fetch("/v1/account", { headers, cache: "no-store" });
    const found = await answer.json();
    again = answer.status !== 401;
    shown = answer.ok ? account(found) : [wrong(found.message)];
  } catch {
    shown = [wrong("The service cannot be reached.")];
  }
  if (mine === asked) place("account").replaceChildren(...shown);
}

function account(found) {
  const heads = Object.entries(found.heads).map(([name, one]) => [
    name,
    one.policy,
    number(one.bits),
    left(one.budget, one.bits),
  ]);
  const indexes = Object.entries(found.indexes).map(([name, one]) => [
    name,
    number(one.bits),
    left(one.budget, one.bits),
    number(one.text_bits),
    left(one.text_budget, one.text_bits),
  ]);
  const limits = Object.entries(found.limits).map(([name, most]) => [
    `${name.replaceAll("_", " ")}, at most`,
    number(most),
  ]);
  const facts = [["client", found.identity], ["bytes today", number(found.bytes_today)]];
  const parts = [];
  if (heads.length) {
    parts.push(table(["Head", "Policy", "Bits had", "Bits left"], heads));
  }
  if (indexes.length) {
    const names = ["Bits had", "Bits left", "Of texts", "Of texts left"];
    parts.push(table(["Index", ...names], indexes));
  }
  return [...parts, list([...facts, ...limits])];
}

function left(budget, had) {
  return budget === null ? "no limit" : number(Math.max(0, budget - had));
}

function number(value) {
  return value.toLocaleString("en", { maximumFractionDigits: 1 });
}

function make(kind, text, ...children) {
  const made = document.createElement(kind);
  made.append(...(text === null ? children : [text]));
  return made;
}

function wrong(text) {
  const made = make("p", text);
  made.className = "wrong";
  return made;
}

function table(names, lines) {
  const head = make("tr", null, ...names.map((name) => make("th", name)));
  const rows = lines.map((line) => {
    const cells = line.map((cell, i) => {
      const made = make("td", cell);
      made.dataset.name = names[i];
      return made;
    });
    return make("tr", null, ...cells);
  });
  return make("table", null, make("thead", null, head), make("tbody", null, ...rows));
}

function list(facts) {
  const pairs = facts.map(([a, b]) => make("div", null, make("dt", a), make("dd", b)));
  return make("dl", null, ...pairs);
}

place("ask").addEventListener("submit", (event) => {
  event.preventDefault();
  token = place("token").value.trim();
  place("token").value = "";
  place("forget").disabled = false;
  showAccount();
});

place("forget").addEventListener("click", () => {
  token = null;
  again = false;
  asked += 1;
  place("forget").disabled = true;
  place("account").replaceChildren();
  showAccount();
});

place("ask").querySelector("button").disabled = false;
showAccount();
setInterval(() => {
  if (document.hidden) return;
  refresh().catch(() => {});
  if (again) showAccount();
}, EVERY_MILLISECONDS);
