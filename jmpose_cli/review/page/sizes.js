// How large things are drawn: all of the page grows with the screen.
export const scaleOf = () => parseFloat(getComputedStyle(document.documentElement).fontSize) / 14;

// A canvas ready to be drawn on, in CSS pixels.
export function paperOf(canvas) {
  const ratio = window.devicePixelRatio;
  const [width, height] = [Math.round(canvas.clientWidth * ratio), Math.round(canvas.clientHeight * ratio)];
  if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
  const paper = canvas.getContext("2d");
  paper.setTransform(ratio, 0, 0, ratio, 0, 0);
  paper.clearRect(0, 0, canvas.clientWidth, canvas.clientHeight);
  return paper;
}
