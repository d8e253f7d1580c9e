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

export function makeButtons(review) {
  const buttons = new Map();
  for (const [id, groups] of [["moves", ["moves"]], ["session", ["session"]], ["edits", ["joints", "tracks", "review"]]]) {
    for (const command of COMMANDS.filter(({ group, label }) => groups.includes(group) && label)) {
      const button = made("button", command.label, { type: "button", title: command.name, onclick: () => review.run(command) });
      button.append(key(command));
      button.setAttribute("aria-keyshortcuts", command.key);
      element(id).append(button);
      buttons.set(command, button);
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

export function fillSuspects(review) {
  const { clip } = review;
  const items = clip.suspects.slice(0, 300).map((suspect, place) => {
    const button = made("button", "", { type: "button", onclick: () => review.goTo(place) });
    button.append(made("b", `${Math.round(100 * suspect.severity)} % ${suspect.kind}`), ` · frame ${suspect.at}`, made("br"), suspect.reason);
    if (place === review.suspectPlace) button.setAttribute("aria-current", "true");
    const item = made("li");
    item.append(button);
    return item;
  });
  if (!items.length) items.push(made("li", "Nothing suspicious.", { className: "empty" }));
  element("suspects").replaceChildren(...items);
  element("suspects").querySelector("[aria-current]")?.scrollIntoView({ block: "nearest" });
}

export function fillPeople(review) {
  const people = review.poses()?.people ?? [];
  const rows = people.map((person) => {
    const button = made("button", `${person.id}${person.id === review.other ? " (other)" : ""}`, {
      type: "button",
      title: `score ${person.score}; Shift+click: the other person of a merge or swap`,
      onclick: (event) => (event.shiftKey ? review.selectOther(person.id) : review.select(person.id, null)),
    });
    const swatch = made("span", "", { className: "swatch" });
    swatch.style.background = colourOf(person.id);
    button.prepend(swatch);
    button.setAttribute("aria-pressed", person.id === review.track);
    const item = made("li");
    item.append(button);
    return item;
  });
  if (!rows.length) rows.push(made("li", review.poses() ? "Nobody in this frame." : "Loading …", { className: "empty" }));
  element("people").replaceChildren(...rows);
  const person = review.person();
  const joints = !person ? [] : review.clip.joints.map((name, joint) => {
    const state = ["missing", "hidden", "visible"][person.v[joint]];
    const source = ["model", "corrected", "propagated", "interpolated"][person.src[joint]];
    const button = made("button", name.replaceAll("_", " "), {
      type: "button",
      className: ["missing", "hidden-joint", ""][person.v[joint]],
      title: `${state}, ${source}, score ${person.s[joint]}`,
      ariaLabel: `${name.replaceAll("_", " ")}, ${state}, ${source}`,
      onclick: () => review.select(person.id, joint),
    });
    button.setAttribute("aria-pressed", joint === review.joint);
    const item = made("li");
    item.append(button);
    return item;
  });
  element("joints").replaceChildren(...(joints.length ? joints : [made("li", "Select a person.", { className: "empty" })]));
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
