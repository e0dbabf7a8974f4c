// Package e2e holds the end-to-end tests: the real binary, fed by ffmpeg,
// GStreamer and publishers of our own, read by ffprobe and by hls.js in
// headless Chromium. It owns what those tests need (package.json, the page
// they play in) and the pictures of the README. It is imported by nothing.
package e2e
