// Body of a Bokeh function: `value` is the sample's row, `files` a URL with the picture of every sample.
return files[value];
