// What stands beside the picture: buttons, suspects, people and joints, the keys.
import { COMMANDS, GROUPS, shown } from "./commands.js";
import { colourOf } from "./colours.js";

export const element = (id) => document.getElementById(id);

export function made(tag, text = "", properties = {}) {
  const found = Object.assign(document.createElement(tag), properties);
  if (text) found.textContent = text;
  return found;
}

function key(command) {
  return made("kbd", shown(command.key), { ariaHidden: "true" });
}

// After a click the keys mean the page again, not the button; who goes through the buttons by keys stays there.
const pressed = (act) => (event) => {
  if (event.detail) element("picture").focus({ preventScroll: true });
  act(event);
};

// Fills a list anew; the button that had the focus keeps it.
function fill(list, items) {
  const focused = list.contains(document.activeElement) ? document.activeElement.dataset.name : undefined;
  list.replaceChildren(...items);
  if (focused !== undefined) [...list.querySelectorAll("button")].find(({ dataset }) => dataset.name === focused)?.focus({ preventScroll: true });
}

export function makeButtons(review) {
  const buttons = new Map();
  const places = [["moves", ["moves"]], ["session", ["session"]], ["advice", ["suspects"]], ["edits", ["joints", "spread", "tracks", "review"]]];
  for (const [id, groups] of places) {
    for (const group of groups) {
      const part = groups.length > 1 ? made("div", "", { role: "group", ariaLabel: GROUPS[group] }) : element(id);
      if (groups.length > 1) part.append(made("h3", GROUPS[group].replace("People and j", "J")));
      for (const command of COMMANDS.filter((one) => one.group === group && one.label)) {
        const button = made("button", command.label, { type: "button", title: command.name, onclick: pressed(() => review.run(command)) });
        button.append(key(command));
        button.setAttribute("aria-keyshortcuts", command.key);
        part.append(button);
        buttons.set(command, button);
      }
      if (part !== element(id)) element(id).append(part);
    }
  }
  return buttons;
}

export function fillHelp() {
  for (const [group, title] of Object.entries(GROUPS)) {
    const [section, list] = [made("section"), made("dl")];
    for (const command of COMMANDS.filter((one) => one.group === group)) {
      const term = made("dt");
      term.append(key(command));
      const isSaid = !command.ranged || command.name.includes("range");
      list.append(term, made("dd", isSaid ? command.name : `${command.name} (here, or in the range)`));
    }
    section.append(made("h2", title), list);
    element("keys").append(section);
  }
}

const MANY = 16; // people: not all of their buttons may be in view
const [SHOWN, STEP] = [100, 50];
let listed = "";
let turned = {}; // to which part of the list, while which suspect was looked at

export function fillSuspects(review) {
  const { clip, suspectPlace } = review;
  const near = Math.max(Math.floor((suspectPlace - STEP / 2) / STEP) * STEP, 0);
  const from = turned.clip === clip.number && turned.place === suspectPlace ? turned.from : near;
  const looks = [clip.number, clip.found, clip.suspects.length, from].join();
  if (looks !== listed) listSuspects(review, from);
  listed = looks;
  element("suspects").querySelector("[aria-current]")?.removeAttribute("aria-current");
  const button = element("suspects").querySelector(`[data-name="${suspectPlace}"]`);
  button?.setAttribute("aria-current", "true");
  button?.scrollIntoView({ block: "nearest" });
}

function listSuspects(review, from) {
  const { clip } = review;
  const items = clip.suspects.slice(from, from + SHOWN).map((suspect, row) => {
    const place = from + row;
    const act = (event) => (!event.detail && place === review.suspectPlace && suspect.fix.length ? review.guarded(() => review.fix()) : review.goTo(place));
    const button = made("button", "", { type: "button", onclick: pressed(act) });
    button.dataset.name = place;
    button.append(made("b", `${Math.round(100 * suspect.severity)} % ${suspect.kind}`), ` · frame ${suspect.at}`, made("br"), suspect.reason);
    if (suspect.fix.length) button.append(made("span", suspect.try.replaceAll("--", "").replace(/=\S+/g, ""), { className: "advice" }));
    const item = made("li");
    item.append(button);
    return item;
  });
  if (!items.length) items.push(made("li", clip.isAll ? "Nothing suspicious." : "Looking for suspects …", { className: "empty" }));
  const after = clip.total - from - items.length;
  if (after > 0 && from + SHOWN < clip.suspects.length) items.push(turning(review, from + STEP, `and ${after} more`));
  else if (after > 0) items.push(made("li", `and ${after} more`, { className: "empty" }));
  if (from) items.unshift(turning(review, Math.max(from - STEP, 0), `${from} before`));
  fill(element("suspects"), items);
}

// What leads to another part of the list; the suspect that is looked at stays.
function turning(review, from, label) {
  const turn = () => {
    turned = { clip: review.clip.number, place: review.suspectPlace, from };
    fillSuspects(review);
  };
  const item = made("li");
  item.append(made("button", label, { type: "button", className: "turn", onclick: pressed(turn) }));
  return item;
}

export function fillPeople(review) {
  const people = review.poses()?.people ?? [];
  const rows = people.map((person) => {
    const button = made("button", `${person.id}${person.id === review.other ? " (other)" : ""}${person.occluded ? " (hidden)" : ""}`, {
      type: "button",
      title: `score ${person.score}${person.occluded ? ", marked as hidden" : ""}; Shift+click: the other person of a merge or swap`,
      onclick: pressed((event) => (event.shiftKey ? review.selectOther(person.id) : review.select(person.id, null))),
    });
    button.dataset.name = person.id;
    const swatch = made("span", "", { className: "swatch" });
    swatch.style.background = colourOf(person.id);
    button.prepend(swatch);
    button.setAttribute("aria-pressed", person.id === review.track);
    const item = made("li");
    item.append(button);
    return item;
  });
  if (!rows.length) rows.push(made("li", review.poses() ? "Nobody in this frame." : "Loading …", { className: "empty" }));
  fill(element("people"), rows);
  if (people.length > MANY) element("people").querySelector("[aria-pressed=true]")?.scrollIntoView({ block: "nearest" });
  const person = review.person();
  const joints = !person ? [] : review.clip.joints.map((name, joint) => {
    const state = ["missing", "hidden", "visible"][person.v[joint]];
    const source = ["model", "corrected", "propagated", "interpolated"][person.src[joint]];
    const button = made("button", name.replaceAll("_", " "), {
      type: "button",
      className: `${["missing", "hidden-joint", ""][person.v[joint]]} ${source}`,
      title: `${state}, ${source}, score ${person.s[joint]}`,
      ariaLabel: `${name.replaceAll("_", " ")}, ${state}, ${source}`,
      onclick: pressed(() => review.select(person.id, joint)),
    });
    button.dataset.name = name;
    button.setAttribute("aria-pressed", joint === review.joint);
    const item = made("li");
    item.append(button);
    return item;
  });
  fill(element("joints"), joints.length ? joints : [made("li", "Select a person.", { className: "empty" })]);
}

// Asks for a number; undefined where nobody gives one.
export function ask(text, ids) {
  const dialog = element("ask");
  element("ask-label").textContent = text;
  element("ask-value").value = "";
  element("ask-ids").replaceChildren(...ids.map((id) => made("option", "", { value: id })));
  dialog.returnValue = "";
  dialog.showModal();
  element("ask-value").onkeydown = (event) => {
    if (event.key === "Enter") { event.preventDefault(); element("ask-ok").click(); }
  };
  return new Promise((done) => {
    dialog.onclose = () => {
      const value = element("ask-value").value;
      done(dialog.returnValue === "ok" && value !== "" ? Number(value) : undefined);
    };
  });
}
