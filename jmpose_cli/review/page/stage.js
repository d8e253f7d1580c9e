// The picture with its skeletons: drawn, zoomed and moved; people and joints found under the pointer, and dragged.
import { colourOf } from "./colours.js";
import { paperOf, scaleOf, sizeOf } from "./sizes.js";

const NEAR_PX = 11;
const MOVED_PX = 3;

export class Stage {
  // acts: select(track, joint), selectOther(track), drop(track, joint, x, y), place(x, y), box(corners)
  constructor(canvas, acts) {
    Object.assign(this, { canvas, acts, zoom: 1, panX: 0, panY: 0, brightness: 100, isBoxing: false });
    new ResizeObserver(() => this.draw()).observe(canvas);
    canvas.addEventListener("pointerdown", (event) => this.press(event));
    canvas.addEventListener("pointermove", (event) => this.move(event));
    canvas.addEventListener("pointerup", (event) => this.release(event));
    canvas.addEventListener("pointercancel", () => { this.held = null; this.draw(); });
    canvas.addEventListener("wheel", (event) => {
      event.preventDefault();
      this.zoomAt(Math.exp(-event.deltaY / 400), event.offsetX, event.offsetY);
    }, { passive: false });
  }

  show(scene) {
    this.scene = scene;
    this.draw();
  }

  fit() {
    Object.assign(this, { zoom: 1, panX: 0, panY: 0 });
    this.draw();
  }

  zoomAt(factor, x = this.wide / 2, y = this.tall / 2) {
    const [px, py] = this.toImage(x, y);
    this.zoom = Math.min(Math.max(this.zoom * factor, 1), 40);
    const [sx, sy] = this.toScreen(px, py);
    this.panX += x - sx;
    this.panY += y - sy;
    if (this.zoom === 1) this.panX = this.panY = 0;
    this.draw();
  }

  // Zooms to a box in image pixels, with room around it.
  zoomTo([left, top, right, bottom]) {
    this.fit();
    const { width, height } = this.scene;
    const factor = Math.min(width / (right - left), height / (bottom - top)) / 1.6;
    this.zoom = Math.min(Math.max(factor, 1), 40);
    const [x, y] = this.toScreen((left + right) / 2, (top + bottom) / 2);
    this.panX += this.wide / 2 - x;
    this.panY += this.tall / 2 - y;
    this.draw();
  }

  get scale() {
    const { width, height, aspect } = this.scene;
    const y = Math.min(this.wide / (width * aspect), this.tall / height) * this.zoom;
    return [y * aspect, y];
  }

  // (0, 0) is the centre of the first pixel.
  toScreen(x, y) {
    const [sx, sy] = this.scale;
    return [
      (this.wide - this.scene.width * sx) / 2 + (x + 0.5) * sx + this.panX,
      (this.tall - this.scene.height * sy) / 2 + (y + 0.5) * sy + this.panY,
    ];
  }

  toImage(x, y) {
    const [sx, sy] = this.scale;
    return [
      (x - this.panX - (this.wide - this.scene.width * sx) / 2) / sx - 0.5,
      (y - this.panY - (this.tall - this.scene.height * sy) / 2) / sy - 0.5,
    ];
  }

  // The joint or the person at a place of the screen.
  find(x, y) {
    let best = null, nearest = NEAR_PX;
    for (const person of this.scene.people) {
      const isSelected = person.id === this.scene.track;
      person.xy.forEach(([px, py], joint) => {
        if (!person.v[joint]) return;
        const [sx, sy] = this.toScreen(px, py);
        const away = Math.hypot(sx - x, sy - y) - (isSelected ? 4 : 0);
        if (away < nearest) [nearest, best] = [away, { track: person.id, joint }];
      });
    }
    if (best) return best;
    const [px, py] = this.toImage(x, y);
    const inside = this.scene.people.filter(({ box }) => px >= box[0] && px <= box[2] && py >= box[1] && py <= box[3]);
    const size = ({ box }) => (box[2] - box[0]) * (box[3] - box[1]);
    inside.sort((a, b) => size(a) - size(b));
    return inside.length ? { track: inside[0].id, joint: null } : null;
  }

  press(event) {
    if (!this.scene || event.button > 1) return;
    this.canvas.setPointerCapture(event.pointerId);
    const [x, y] = [event.offsetX, event.offsetY];
    const found = event.button === 1 ? null : this.find(x, y);
    this.held = { x, y, lastX: x, lastY: y, found, isMoved: false, isBox: this.isBoxing };
    if (event.shiftKey || this.isBoxing) return;
    if (found?.joint != null && !this.isPlacing) this.acts.select(found.track, found.joint);
  }

  get isPlacing() {
    const person = this.scene.people.find(({ id }) => id === this.scene.track);
    return person && this.scene.joint != null && !person.v[this.scene.joint];
  }

  move(event) {
    const held = this.held;
    const [x, y] = [event.offsetX, event.offsetY];
    this.pointer = [x, y];
    if (!held) return;
    held.isMoved ||= Math.hypot(x - held.x, y - held.y) >= MOVED_PX;
    if (held.isMoved && !held.isBox) {
      if (held.found?.joint != null) held.at = this.toImage(x, y);
      else {
        this.panX += x - held.lastX;
        this.panY += y - held.lastY;
      }
    }
    [held.lastX, held.lastY] = [x, y];
    this.draw();
  }

  release(event) {
    const held = this.held;
    this.held = null;
    if (!held) return;
    if (held.isBox) {
      const [a, b] = [this.toImage(held.x, held.y), this.toImage(event.offsetX, event.offsetY)];
      const box = [Math.min(a[0], b[0]), Math.min(a[1], b[1]), Math.max(a[0], b[0]), Math.max(a[1], b[1])];
      if (held.isMoved) this.acts.box(box);
    } else if (held.at) {
      this.acts.drop(held.found.track, held.found.joint, ...held.at);
    } else if (!held.isMoved && event.button === 0) {
      if (event.shiftKey && held.found) this.acts.selectOther(held.found.track);
      else if (this.isPlacing && !event.shiftKey) this.acts.place(...this.toImage(held.x, held.y));
      else if (held.found?.joint == null) this.acts.select(held.found?.track ?? null, null);
    }
    this.draw();
  }

  draw() {
    const { canvas, scene } = this;
    if (!scene) return;
    const paper = paperOf(canvas);
    [this.wide, this.tall] = sizeOf(canvas); // once: each look at them is a layout
    this.unit = scaleOf();
    const [left, top] = this.toScreen(-0.5, -0.5);
    const [sx, sy] = this.scale;
    paper.imageSmoothingEnabled = sy < 4;
    if (scene.bitmap) {
      paper.filter = this.brightness === 100 ? "none" : `brightness(${this.brightness}%)`;
      paper.drawImage(scene.bitmap, left, top, scene.width * sx, scene.height * sy);
      paper.filter = "none";
    } else {
      paper.fillStyle = "#222";
      paper.fillRect(left, top, scene.width * sx, scene.height * sy);
    }
    for (const person of scene.people) if (person.id !== scene.track) this.drawPerson(paper, person);
    const selected = scene.people.find(({ id }) => id === scene.track);
    if (selected) this.drawPerson(paper, selected);
    if (this.held?.isBox) {
      paper.strokeStyle = "#fff";
      paper.strokeRect(this.held.x, this.held.y, this.held.lastX - this.held.x, this.held.lastY - this.held.y);
    }
  }

  drawPerson(paper, person) {
    const { scene, held } = this;
    const colour = colourOf(person.id);
    const isSelected = person.id === scene.track;
    const points = person.xy.map(([x, y], joint) =>
      held?.at && held.found.track === person.id && held.found.joint === joint ? this.toScreen(...held.at) : this.toScreen(x, y));
    paper.globalAlpha = scene.track == null || isSelected || person.id === scene.other ? 1 : 0.75;
    const limbs = scene.skeleton.filter(([a, b]) => person.v[a] && person.v[b]);
    const isRight = ([a, b]) => this.isOf("right_", a, b) && !this.isOf("left_", a, b);
    for (const [style, width] of [["#000a", isSelected ? 5 : 4], [colour, isSelected ? 3 : 2]]) {
      paper.strokeStyle = style;
      paper.lineWidth = width * this.unit;
      for (const isDashed of [false, true]) {
        paper.setLineDash(isDashed ? [6, 4] : []);
        paper.beginPath();
        for (const [a, b] of limbs.filter((limb) => isRight(limb) === isDashed)) {
          paper.moveTo(...points[a]);
          paper.lineTo(...points[b]);
        }
        paper.stroke();
      }
    }
    paper.setLineDash([]);
    points.forEach(([x, y], joint) => {
      if (person.v[joint]) this.drawJoint(paper, x, y, person, joint, colour, isSelected && joint === scene.joint);
    });
    paper.globalAlpha = 1;
    this.drawLabel(paper, person, colour, isSelected);
  }

  isOf(side, ...joints) { return joints.some((joint) => this.scene.joints[joint].startsWith(side)); }

  drawJoint(paper, x, y, person, joint, colour, isChosen) {
    const size = (person.id === this.scene.track ? 5 : 3.5) * this.unit;
    paper.beginPath();
    if (person.src[joint] === 1) paper.rect(x - size, y - size, 2 * size, 2 * size);
    else if (person.src[joint] > 1) {
      paper.moveTo(x, y - size - 1.5);
      paper.lineTo(x + size + 1.5, y);
      paper.lineTo(x, y + size + 1.5);
      paper.lineTo(x - size - 1.5, y);
      paper.closePath();
    } else paper.arc(x, y, size, 0, 7);
    paper.lineWidth = 2 * this.unit;
    if (person.v[joint] === 2) {
      paper.fillStyle = colour;
      paper.fill();
      paper.strokeStyle = "#000b";
    } else paper.strokeStyle = colour;
    paper.stroke();
    if (isChosen) {
      paper.strokeStyle = "#fff";
      paper.beginPath();
      paper.arc(x, y, size + 5, 0, 7);
      paper.stroke();
    }
  }

  drawLabel(paper, person, colour, isSelected) {
    const seen = person.xy.filter((_, joint) => person.v[joint]);
    const [left, top, right] = person.box;
    const x = seen.length ? Math.min(...seen.map(([at]) => at)) / 2 + Math.max(...seen.map(([at]) => at)) / 2 : (left + right) / 2;
    const [sx, highest] = this.toScreen(x, seen.length ? Math.min(...seen.map(([, at]) => at)) : top);
    const { unit } = this;
    const sy = Math.max(highest, 29 * unit); // also of heads above the picture
    const isOther = person.id === this.scene.other;
    const text = `${person.id}${person.occluded ? " hidden" : ""}${isSelected ? " ●" : isOther ? " ○" : ""}`;
    paper.font = `600 ${13 * unit}px system-ui, sans-serif`;
    const width = paper.measureText(text).width + 8 * unit;
    paper.fillStyle = "#000d";
    paper.fillRect(sx - width / 2, sy - 27 * unit, width, 18 * unit);
    paper.fillStyle = colour;
    paper.fillText(text, sx - width / 2 + 4 * unit, sy - 13 * unit);
    if (isSelected || isOther || !seen.length) {
      const [x1, y1] = this.toScreen(person.box[0], person.box[1]);
      const [x2, y2] = this.toScreen(person.box[2], person.box[3]);
      paper.strokeStyle = colour;
      paper.lineWidth = 1;
      paper.setLineDash(isOther ? [4, 4] : []);
      paper.strokeRect(x1, y1, x2 - x1, y2 - y1);
      paper.setLineDash([]);
    }
  }
}
