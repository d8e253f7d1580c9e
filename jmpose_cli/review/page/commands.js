// All that can be done, each with its key; buttons, keys and the help are made of this one table.
// A command gets the review (see main.js). `needs` says what must be there: track, person, joint, suspect, fix.

const template = { // a person who stands, parts of a box
  nose: [0.5, 0.08], left_eye: [0.54, 0.06], right_eye: [0.46, 0.06], left_ear: [0.58, 0.08], right_ear: [0.42, 0.08],
  left_shoulder: [0.68, 0.22], right_shoulder: [0.32, 0.22], left_elbow: [0.78, 0.37], right_elbow: [0.22, 0.37],
  left_wrist: [0.8, 0.51], right_wrist: [0.2, 0.51], left_hip: [0.6, 0.52], right_hip: [0.4, 0.52],
  left_knee: [0.6, 0.74], right_knee: [0.4, 0.74], left_ankle: [0.6, 0.96], right_ankle: [0.4, 0.96],
  head_bottom: [0.5, 0.17], head_top: [0.5, 0.0],
};

export function standing(joints, [left, top, right, bottom]) {
  const known = joints.filter((name) => template[name]);
  const at = ([x, y]) => [left + x * (right - left), top + y * (bottom - top), 2];
  return Object.fromEntries(known.map((name) => [name, at(template[name])]));
}

const nudge = (dx, dy) => (r) => {
  const person = r.person();
  const [x, y] = person.xy[r.joint];
  if (person.v[r.joint]) r.setJoint(r.track, r.joint, x + dx, y + dy);
};

// Left and right of arms or legs: in the range, or around this frame as long as they are exchanged.
const exchange = (parts) => (r) => {
  const joints = r.clip.joints.filter((name) => parts.some((part) => name === `left_${part}`));
  const around = r.atOnce && !r.range ? { around: r.number() } : { frames: r.frames() };
  return r.clip.do({ op: "swap_sides", track: r.track, joints, ...around });
};

const visibility = (r, value) =>
  r.clip.do({ op: "set_visibility", track: r.track, frames: r.frames(), joints: [r.jointName()], visibility: value });

export const COMMANDS = [
  { group: "moves", key: "Space", name: "Play or stop", label: "Play", run: (r) => r.play() },
  { group: "moves", key: "ArrowLeft", name: "Frame before", label: "◀", run: (r) => r.seek(r.place - 1) },
  { group: "moves", key: "ArrowRight", name: "Next frame", label: "▶", run: (r) => r.seek(r.place + 1) },
  { group: "moves", key: "Shift+ArrowLeft", name: "10 frames back", run: (r) => r.seek(r.place - 10) },
  { group: "moves", key: "Shift+ArrowRight", name: "10 frames on", run: (r) => r.seek(r.place + 10) },
  { group: "moves", key: "Home", name: "First frame", run: (r) => r.seek(0) },
  { group: "moves", key: "End", name: "Last frame", run: (r) => r.seek(Infinity) },
  { group: "suspects", key: "n", name: "Next suspect", label: "Next", run: (r) => r.suspect(1) },
  { group: "suspects", key: "p", name: "Suspect before", run: (r) => r.suspect(-1) },
  { group: "suspects", key: "Enter", name: "Do what is advised, and go to the next suspect", label: "Do it", needs: "fix", run: (r) => r.fix() },
  { group: "suspects", key: "v", name: "It is right as it is: told no more; next suspect", label: "Is right", needs: "suspect",
    run: (r) => r.dismiss() },
  { group: "suspects", key: "Shift+Enter", name: "Do what all likely suspects of this kind advise", label: "Do all alike", needs: "suspect",
    run: (r) => r.fixAll() },
  { group: "suspects", key: "Shift+V", name: "All of the track is right: nothing of it is suspicious any more", needs: "track",
    run: (r) => r.clip.do({ op: "dismiss", tracks: [r.track] }) },

  { group: "moves", key: "u", name: "Next frame that nobody has reviewed", run: (r) => r.nextUnseen() },
  { group: "moves", key: "+", name: "Zoom in", run: (r) => r.stage.zoomAt(1.4) },
  { group: "moves", key: "-", name: "Zoom out", run: (r) => r.stage.zoomAt(1 / 1.4) },
  { group: "moves", key: "0", name: "Whole picture", run: (r) => r.stage.fit() },
  { group: "moves", key: "]", name: "Timeline closer (also the wheel over the lanes)", run: (r) => r.timeline.zoom(2) },
  { group: "moves", key: "[", name: "Timeline wider", run: (r) => r.timeline.zoom(0.5) },
  { group: "moves", key: "\\", name: "Timeline of the whole clip", run: (r) => r.timeline.zoom(0) },
  { group: "moves", key: "l", name: "Zoom to the person", needs: "person", run: (r) => r.stage.zoomTo(r.person().box) },

  { group: "select", key: "e", name: "Next person", run: (r) => r.stepPerson(1) },
  { group: "select", key: "w", name: "Person before", run: (r) => r.stepPerson(-1) },
  { group: "select", key: "j", name: "Next joint", needs: "person", run: (r) => r.stepJoint(1) },
  { group: "select", key: "k", name: "Joint before", needs: "person", run: (r) => r.stepJoint(-1) },
  { group: "select", key: "i", name: "A range begins here", run: (r) => r.mark(0) },
  { group: "select", key: "o", name: "A range ends here", run: (r) => r.mark(1) },
  { group: "select", key: "Escape", name: "Nothing selected, no range", run: (r) => r.clear() },

  { group: "joints", key: "Alt+ArrowLeft", name: "Joint 1 px to the left", needs: "joint", run: nudge(-1, 0) },
  { group: "joints", key: "Alt+ArrowRight", name: "Joint 1 px to the right", needs: "joint", run: nudge(1, 0) },
  { group: "joints", key: "Alt+ArrowUp", name: "Joint 1 px up", needs: "joint", run: nudge(0, -1) },
  { group: "joints", key: "Alt+ArrowDown", name: "Joint 1 px down", needs: "joint", run: nudge(0, 1) },
  { group: "joints", key: "q", name: "Put the joint where the pointer is", needs: "joint", run: (r) => r.placeAtPointer() },
  { group: "joints", key: "h", name: "Joint hidden, or visible again", label: "Hidden", needs: "joint", ranged: true,
    run: (r) => visibility(r, r.person().v[r.joint] === 1 ? 2 : 1) },
  { group: "joints", key: "Delete", name: "Joint is not there", label: "Remove", needs: "joint", ranged: true,
    run: (r) => visibility(r, 0) },
  { group: "joints", key: "f", name: "Exchange left and right", label: "Swap sides", needs: "person", ranged: true,
    run: (r) => r.clip.do({ op: "swap_sides", track: r.track, frames: r.frames() }) },
  { group: "joints", key: "Shift+F", name: "Exchange left and right of the arms, also around this frame as long as they are", label: "Swap arms",
    needs: "person", ranged: true, run: exchange(["shoulder", "elbow", "wrist"]) },
  { group: "joints", key: "Shift+L", name: "Exchange left and right of the legs, likewise", label: "Swap legs", needs: "person", ranged: true,
    run: exchange(["hip", "knee", "ankle"]) },
  { group: "joints", key: "c", name: "Copy the previous pose; adds a person who is missing here", label: "Copy previous",
    needs: "track", run: (r) => r.clip.do({ op: "copy_pose", track: r.track, frame: r.number() }) },
  { group: "joints", key: "Shift+E", name: "Estimate here: the model looks into the person's box, or one that you draw", label: "Estimate",
    run: (r) => r.estimate() },
  { group: "joints", key: "b", name: "Add a person who stands: draw a box", label: "Add person", run: (r) => r.addPerson() },
  { group: "joints", key: "Shift+B", name: "Draw the person's box anew", label: "New box", needs: "person", run: (r) => r.drawBox() },
  { group: "joints", key: "Shift+H", name: "Whole person hidden, or not", label: "Person hidden", needs: "person", ranged: true,
    run: (r) => r.clip.do({ op: "set_occluded", track: r.track, frames: r.frames(), occluded: !r.person().occluded }) },

  { group: "spread", key: "g", name: "Propagate corrections of the track, or within the range", label: "Propagate",
    needs: "track", run: (r) => r.clip.do({ op: "propagate", track: r.track, frames: r.rangeOrAll() }) },
  { group: "spread", key: "a", name: "Accept what was propagated: of the track, or of everybody; in the range, or everywhere", label: "Accept",
    run: (r) => r.clip.do({ op: "accept", ...r.whom(), frames: r.rangeOrAll() }) },
  { group: "spread", key: "Shift+G", name: "Take back what was propagated, likewise", label: "Take back",
    run: (r) => r.clip.do({ op: "take_back", ...r.whom(), frames: r.rangeOrAll() }) },
  { group: "spread", key: "Shift+P", name: "At once, or not: a joint that is put, and arms or legs that are exchanged, change the frames around", label: "At once",
    pressed: (r) => r.atOnce, run: (r) => r.toggleAtOnce() },

  { group: "tracks", key: "m", name: "Merge with the other track", label: "Merge", needs: "track",
    run: async (r) => r.clip.do({ op: "merge", tracks: [r.track, await r.askOther("Which track is the same person?")] }) },
  { group: "tracks", key: "y", name: "Split: from here on somebody else", label: "Split", needs: "track",
    run: (r) => r.clip.do({ op: "split", track: r.track, frame: r.number() }) },
  { group: "tracks", key: "x", name: "Swap ids with the other track from here on", label: "Swap on", needs: "track",
    run: (r) => r.swap("Swap from here on with which track?", [r.number(), null]) },
  { group: "tracks", key: "Shift+X", name: "Swap ids with the other track here, or in the range", label: "Swap here",
    needs: "track", ranged: true,
    run: (r) => r.swap("Swap here with which track?", r.frames()) },
  { group: "tracks", key: "t", name: "Fill the gaps of the track, or within the range", label: "Fill gaps", needs: "track",
    run: (r) => r.clip.do({ op: "interpolate", track: r.track, frames: r.rangeOrAll() }) },
  { group: "tracks", key: "d", name: "Nobody is here, or in the range", label: "Delete", needs: "track", ranged: true,
    run: (r) => r.clip.do({ op: "delete", track: r.track, frames: r.frames() }) },
  { group: "tracks", key: "Shift+D", name: "Delete the whole track", label: "Delete track", needs: "track",
    run: (r) => r.clip.do({ op: "delete", track: r.track }) },
  { group: "tracks", key: "Shift+R", name: "Rename the track", label: "Rename", needs: "track", run: (r) => r.rename() },

  { group: "review", key: "r", name: "Frame or range reviewed, or not", label: "Reviewed", ranged: true, run: (r) => r.review() },
  { group: "review", key: "Shift+A", name: "All frames up to here reviewed", label: "Up to here",
    run: (r) => r.clip.do({ op: "review", frames: [null, r.number() + 1] }) },

  { group: "session", key: "z", name: "Undo", label: "Undo", run: (r) => r.turn("undo") },
  { group: "session", key: "Shift+Z", name: "Redo", label: "Redo", run: (r) => r.turn("redo") },
  { group: "session", key: "s", name: "Write all files that derive from the poses", label: "Write files", run: (r) => r.render() },
  { group: "session", key: "PageDown", name: "Next clip that is not finished", label: "Next clip", run: (r) => r.nextClip() },
  { group: "session", key: "PageUp", name: "Clip before", run: (r) => r.stepClip(-1) },
  { group: "session", key: "Shift+T", name: "Dark, light, or as the system is", label: "Theme", run: (r) => r.nextTheme() },
  { group: "session", key: "?", name: "All keys", label: "Keys", run: (r) => r.help() },
];

const ALIASES = { "Ctrl+z": "z", "Ctrl+y": "Shift+Z", "Ctrl+Shift+Z": "Shift+Z", "Ctrl+s": "s", "Shift+{": "[", "Shift+}": "]", Backspace: "Delete",
  "=": "+", "Shift++": "+", "Shift+?": "?", ",": "ArrowLeft", ".": "ArrowRight" };

export function commandOf(event) {
  const name = event.key === " " ? "Space" : event.key.length === 1 && event.shiftKey ? event.key.toUpperCase() : event.key;
  const isCtrl = event.ctrlKey || event.metaKey;
  const key = `${isCtrl ? "Ctrl+" : ""}${event.altKey ? "Alt+" : ""}${event.shiftKey ? "Shift+" : ""}${name}`;
  return COMMANDS.find((command) => command.key === (ALIASES[key] ?? key));
}

export const GROUPS = { suspects: "Suspects", moves: "Frames", select: "Select", joints: "People and joints", spread: "Propagation", tracks: "Tracks",
  review: "Review", session: "Steps and files" };
const SIGNS = { ArrowLeft: "←", ArrowRight: "→", ArrowUp: "↑", ArrowDown: "↓", Escape: "Esc", Delete: "Del", PageDown: "PgDn", PageUp: "PgUp", Enter: "↵" };
export const shown = (key) => key.replace(/Arrow\w+|Escape|Delete|Page\w+|Enter/, (word) => SIGNS[word]).replace("Shift+", "⇧");
