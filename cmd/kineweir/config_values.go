package main

import (
	"fmt"
	"math"
	"math/bits"
	"net"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/kineweir/kineweir/playback/detect"
)

// duration is a positive span of time as the config file writes it.
type duration time.Duration

// UnmarshalText reads 500ms, 2s, 10m, 12h, 30d and sums such as 1d12h.
func (d *duration) UnmarshalText(text []byte) error {
	s := string(text)
	mistake := fmt.Errorf("%q is not a duration: write a number with ms, s, m, h or d, such as 30s or 30d", s)
	var days time.Duration
	if number, rest, ok := strings.Cut(s, "d"); ok {
		n, err := strconv.ParseUint(number, 10, 32)
		if err != nil || n > math.MaxInt64/uint64(24*time.Hour) {
			return mistake
		}
		days, s = time.Duration(n)*24*time.Hour, rest
	}
	var part time.Duration
	if s != "" || days == 0 {
		var err error
		if part, err = time.ParseDuration(s); err != nil || days > math.MaxInt64-max(part, 0) {
			return mistake
		}
	}
	if part < 0 || days+part == 0 {
		return fmt.Errorf("%q is not more than zero: write a number with ms, s, m, h or d, such as 30s or 30d", text)
	}
	*d = duration(days + part)
	return nil
}

// size is a positive number of bytes as the config file writes it.
type size int64

// UnmarshalText reads 512KiB, 16MiB, 2GiB, 1.5TiB, the decimal kB, MB, GB and
// TB, and plain bytes.
func (v *size) UnmarshalText(text []byte) error {
	s := string(text)
	mistake := fmt.Errorf("%q is not a size: write a number with KiB, MiB, GiB or TiB, such as 16MiB", s)
	i := strings.LastIndexAny(s, "0123456789.") + 1
	unit, ok := sizeUnit(strings.TrimSpace(s[i:]))
	if !ok {
		return mistake
	}
	if n, err := strconv.ParseUint(s[:i], 10, 64); err == nil {
		hi, lo := bits.Mul64(n, uint64(unit))
		if n == 0 || hi != 0 || lo > math.MaxInt64 {
			return fmt.Errorf("size %q is out of range", s)
		}
		*v = size(lo)
		return nil
	}
	f, err := strconv.ParseFloat(s[:i], 64)
	switch {
	case err != nil || strings.Trim(s[:i], "0123456789.") != "":
		return mistake
	case f*float64(unit) < 1 || f*float64(unit) >= math.MaxInt64:
		return fmt.Errorf("size %q is out of range", s)
	}
	*v = size(f * float64(unit))
	return nil
}

func sizeUnit(s string) (unit int64, ok bool) {
	switch strings.ToLower(s) {
	case "", "b":
		return 1, true
	case "kib", "k":
		return 1 << 10, true
	case "mib", "m":
		return 1 << 20, true
	case "gib", "g":
		return 1 << 30, true
	case "tib", "t":
		return 1 << 40, true
	case "kb":
		return 1e3, true
	case "mb":
		return 1e6, true
	case "gb":
		return 1e9, true
	case "tb":
		return 1e12, true
	}
	return 0, false
}

// String writes a size for people, to three digits.
func (v size) String() string {
	f, units := float64(v), []string{"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"}
	i := 0
	for f >= 1024 && i < len(units)-1 {
		f /= 1024
		i++
	}
	if i == 0 || f >= 100 {
		return fmt.Sprintf("%.0f %s", f, units[i])
	}
	return fmt.Sprintf("%.1f %s", f, units[i])
}

// words are separated by spaces, or by commas.
type words []string

// UnmarshalText never fails; what the words mean is checked later.
func (w *words) UnmarshalText(text []byte) error {
	*w = nil
	if all := strings.FieldsFunc(string(text), func(r rune) bool { return r == ',' || unicode.IsSpace(r) }); len(all) > 0 {
		*w = all
	}
	return nil
}

// address is host:port to listen on.
type address string

// UnmarshalText checks the form; whether it can be listened on is seen later.
func (a *address) UnmarshalText(text []byte) error {
	s := string(text)
	host, port, err := net.SplitHostPort(s)
	if err != nil {
		return fmt.Errorf("%q is not an address: %s", s, addressHint(s))
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || port != strconv.FormatUint(n, 10) {
		return fmt.Errorf("address %q: port %q is not a number from 0 to 65535", s, port)
	}
	if strings.ContainsAny(host, " /@") {
		return fmt.Errorf("address %q: %q is not a host", s, host)
	}
	*a = address(s)
	return nil
}

func addressHint(s string) string {
	switch {
	case strings.Contains(s, "://"):
		return `leave the scheme out, as in "127.0.0.1:8080"`
	case strings.Count(s, ":") > 1:
		return fmt.Sprintf(`write an IPv6 address in brackets, as in "[%s]:8080"`, s)
	}
	if _, err := strconv.ParseUint(s, 10, 16); err == nil {
		return fmt.Sprintf(`write "127.0.0.1:%s", or ":%s" for every address of the machine`, s, s)
	}
	return `write host:port, as in "127.0.0.1:8080"`
}

// loopback reports whether only this machine can reach the address.
func (a address) loopback() bool {
	host, _, err := net.SplitHostPort(string(a))
	if err != nil {
		return false
	}
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// anyPort returns the address with whatever port is free.
func (a address) anyPort() address {
	host, _, _ := net.SplitHostPort(string(a))
	return address(net.JoinHostPort(host, "0"))
}

// port returns the port number; the address is known to be well formed.
func (a address) port() int {
	_, port, _ := net.SplitHostPort(string(a))
	n, _ := strconv.Atoi(port)
	return n
}

// count reads a whole number from 1.
func count(s string) (int64, error) {
	n, err := strconv.ParseInt(s, 10, 32)
	if err != nil || n < 1 {
		return 0, fmt.Errorf("%q is not a whole number from 1", s)
	}
	return n, nil
}

// zones are polygons as the config file writes them; see detect.Zone.
type zones []detect.Zone

// UnmarshalText reads "0,0 1,0 1,0.5; !0.2,0.2 0.4,0.2 0.4,0.4".
func (z *zones) UnmarshalText(text []byte) error {
	*z = nil
	for part := range strings.SplitSeq(string(text), ";") {
		part = strings.TrimSpace(part)
		if part == "" {
			continue
		}
		rest, ignore := strings.CutPrefix(part, "!")
		zone := detect.Zone{Ignore: ignore}
		for pair := range strings.FieldsSeq(rest) {
			x, y, ok := strings.Cut(pair, ",")
			px, errX := strconv.ParseFloat(x, 64)
			py, errY := strconv.ParseFloat(y, 64)
			if !ok || errX != nil || errY != nil {
				return fmt.Errorf("%q is no point: write x,y in parts of the picture, such as 0.25,0.5", pair)
			}
			zone.Points = append(zone.Points, detect.Point{px, py})
		}
		if err := zone.Validate(); err != nil {
			return fmt.Errorf("zone %q: %w", part, err)
		}
		*z = append(*z, zone)
	}
	return nil
}
