// Body of a Bokeh function: `value` is the sample's row, `pixels` the pictures of all samples.
const [, height, width, channels] = pixels.shape;
const canvas = document.createElement("canvas");
canvas.width = width;
canvas.height = height;
const context = canvas.getContext("2d");
const image = context.createImageData(width, height);
const start = value * height * width * channels;
for (let k = 0; k < height * width; k++) {
  for (let c = 0; c < 3; c++) image.data[4 * k + c] = pixels[start + k * channels + (channels === 3 ? c : 0)];
  image.data[4 * k + 3] = 255;
}
context.putImageData(image, 0, 0);
return canvas.toDataURL();
