package main

import (
	"context"
	"fmt"
	"os/exec"
	"slices"
	"strings"
	"time"
)

// pictureDecoders are what ffmpeg calls the decoders of the codecs that cameras
// and browsers send. Some builds leave the patented ones out.
var pictureDecoders = []string{"h264", "hevc", "vp8", "vp9", "av1"}

func examineFFmpeg(ctx context.Context, c *Config) []finding {
	const mend = "install the package ffmpeg, or set images.ffmpeg to where it is; everything but pictures and motion works without it"
	path, err := exec.LookPath(c.Images.FFmpeg)
	if err != nil {
		return []finding{{verdictWarn, "ffmpeg", fmt.Sprintf("%s is not installed: there are no pictures (/image/)", c.Images.FFmpeg), mend}}
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	out, err := exec.CommandContext(ctx, path, "-hide_banner", "-version").Output()
	if err != nil {
		return []finding{{verdictWarn, "ffmpeg", fmt.Sprintf("%s does not run: %v", path, err), mend}}
	}
	known, err := exec.CommandContext(ctx, path, "-hide_banner", "-v", "error", "-decoders").Output()
	if err != nil {
		return []finding{{verdictWarn, "ffmpeg", fmt.Sprintf("%s does not list its decoders: %v", path, err), mend}}
	}
	if missing := missingDecoders(string(known)); len(missing) > 0 {
		return []finding{{
			verdictWarn, "ffmpeg", fmt.Sprintf("%s cannot decode %s", firstLine(out), strings.Join(missing, ", ")),
			"install a full build; of streams in these codecs there are no pictures",
		}}
	}
	return []finding{{verdictOK, "ffmpeg", firstLine(out), ""}}
}

// missingDecoders reads the output of "ffmpeg -decoders": flags, the name of
// the decoder, and words that may end with "(codec av1)" where that differs.
func missingDecoders(list string) (missing []string) {
	for _, codec := range pictureDecoders {
		found := slices.ContainsFunc(strings.Split(list, "\n"), func(line string) bool {
			words := strings.Fields(line)
			return len(words) > 1 && strings.HasPrefix(words[0], "V") && (words[1] == codec || strings.Contains(line, "(codec "+codec+")"))
		})
		if !found {
			missing = append(missing, codec)
		}
	}
	return missing
}

func firstLine(b []byte) string {
	for i, c := range b {
		if c == '\n' {
			return string(b[:i])
		}
	}
	return string(b)
}
