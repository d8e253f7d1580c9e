// How large things are drawn: all of the page grows with the screen.
export const scaleOf = () => parseFloat(getComputedStyle(document.documentElement).fontSize) / 14;

// Width and height on the screen, which the pointer's places go by: parts of a pixel too, unlike clientWidth.
export function sizeOf(canvas) {
  const { width, height } = canvas.getBoundingClientRect();
  return [width, height];
}

// A canvas ready to be drawn on, in CSS pixels; what is drawn at a place is seen there.
export function paperOf(canvas) {
  const [wide, tall] = sizeOf(canvas);
  const [width, height] = [wide, tall].map((size) => Math.round(size * window.devicePixelRatio));
  if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
  const paper = canvas.getContext("2d");
  paper.setTransform(width / wide, 0, 0, height / tall, 0, 0);
  paper.clearRect(0, 0, wide, tall);
  return paper;
}
