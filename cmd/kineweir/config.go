package main

import (
	_ "embed"
	"fmt"
	"os"
	"slices"
	"time"
)

// configText is the annotated config file. It is the one place where defaults
// are written down: [defaultConfig] reads them from it.
//
//go:embed config.yaml
var configText string

// Config is the shape of the config file. Packages never see it: they get
// Options made of it.
type Config struct {
	Data      string            `yaml:"data"`
	HTTP      HTTPConfig        `yaml:"http"`
	RTSP      RTSPConfig        `yaml:"rtsp"`
	WebRTC    WebRTCConfig      `yaml:"webrtc"`
	TLS       TLSConfig         `yaml:"tls"`
	Auth      AuthConfig        `yaml:"auth"`
	Archive   ArchiveConfig     `yaml:"archive"`
	Fragments FragmentsConfig   `yaml:"fragments"`
	Streams   map[string]Stream `yaml:"streams"`
	Cameras   map[string]Camera `yaml:"cameras"`
	Ingest    IngestConfig      `yaml:"ingest"`
	Images    ImagesConfig      `yaml:"images"`
	Records   RecordsConfig     `yaml:"records"`
	Feed      FeedConfig        `yaml:"feed"`
	Events    EventsConfig      `yaml:"events"`
	AWS       AWSConfig         `yaml:"aws"`
	Limits    string            `yaml:"limits" oneof:"none aws"`
	Ephemeral bool              `yaml:"ephemeral"`
	Log       LogConfig         `yaml:"log"`

	// origin tells where a key that is not at its default was set, by its path.
	origin map[string]origin
}

// HTTPConfig is the section "http".
type HTTPConfig struct {
	Addr    address `yaml:"addr"`
	TLS     bool    `yaml:"tls"`
	Hosts   words   `yaml:"hosts"`
	Origins words   `yaml:"origins"`
}

// RTSPConfig is the section "rtsp".
type RTSPConfig struct {
	Addr            address `yaml:"addr" allow:"empty"`
	TLSAddr         address `yaml:"tls_addr" allow:"empty"`
	UDPAddr         address `yaml:"udp_addr" allow:"empty"`
	SecondPublisher string  `yaml:"second_publisher" oneof:"newest refuse"`
}

// TLSConfig is the section "tls": the certificate of HTTPS and RTSPS.
type TLSConfig struct {
	Cert string `yaml:"cert"`
	Key  string `yaml:"key"`
}

// AuthConfig is the section "auth".
type AuthConfig struct {
	File     string `yaml:"file"`
	Insecure bool   `yaml:"insecure"`
}

// ArchiveConfig is the section "archive".
type ArchiveConfig struct {
	Bucket      BucketConfig    `yaml:"bucket"`
	SegmentSize size            `yaml:"segment_size"`
	SegmentAge  duration        `yaml:"segment_age"`
	MaxSpool    size            `yaml:"max_spool"`
	Retention   RetentionConfig `yaml:"retention"`
}

// BucketConfig is the section "archive.bucket".
type BucketConfig struct {
	Type      string `yaml:"type" oneof:"dir minio"`
	Path      string `yaml:"path"`
	Endpoint  string `yaml:"endpoint"`
	Bucket    string `yaml:"bucket"`
	Prefix    string `yaml:"prefix"`
	Region    string `yaml:"region"`
	AccessKey string `yaml:"access_key"`
	SecretKey string `yaml:"secret_key"`
	Secure    bool   `yaml:"secure"`
	Create    bool   `yaml:"create"`
}

// RetentionConfig is the section "archive.retention". Zero is no limit.
type RetentionConfig struct {
	MaxAge   duration `yaml:"max_age" allow:"none"`
	MaxBytes size     `yaml:"max_bytes" allow:"none"`
	MinFree  size     `yaml:"min_free" allow:"none"`
}

// FragmentsConfig is the section "fragments".
type FragmentsConfig struct {
	MinDuration  duration `yaml:"min_duration"`
	MaxDuration  duration `yaml:"max_duration"`
	MaxBytes     size     `yaml:"max_bytes"`
	PartDuration duration `yaml:"part_duration"`
}

// Stream is what is different for one stream: an entry of the section "streams".
type Stream struct {
	Retention StreamRetention `yaml:"retention"`
	Record    string          `yaml:"record" oneof:"all events"`
	Before    *duration       `yaml:"before" allow:"none"` // of an event; nil: aroundEvent
	After     *duration       `yaml:"after" allow:"none"`
	Late      *duration       `yaml:"late"` // nil: as long as the detector takes
	Motion    MotionConfig    `yaml:"motion"`
	Detector  DetectorConfig  `yaml:"detector"`
}

// MotionConfig is the motion detector of a stream. Zero is the default.
type MotionConfig struct {
	Enabled     bool     `yaml:"enabled"`
	Sensitivity int      `yaml:"sensitivity"`
	FPS         float64  `yaml:"fps"`
	Quiet       duration `yaml:"quiet"`
	Zones       zones    `yaml:"zones"`
}

// DetectorConfig is a detector outside, of a stream. Zero is the default.
type DetectorConfig struct {
	Name     string   `yaml:"name"`
	URL      string   `yaml:"url"`
	Command  words    `yaml:"command"`
	FPS      float64  `yaml:"fps"`
	Width    int      `yaml:"width"`
	Height   int      `yaml:"height"`
	Timeout  duration `yaml:"timeout"`
	MinScore float64  `yaml:"min_score"`
	Sure     int      `yaml:"sure"`
	Quiet    duration `yaml:"quiet"`
}

// aroundEvent is what is recorded before and after an event unless configured.
const aroundEvent = 10 * time.Second

// StreamRetention overrides archive.retention; nil is "as there".
type StreamRetention struct {
	MaxAge   *duration `yaml:"max_age" allow:"none"`
	MaxBytes *size     `yaml:"max_bytes" allow:"none"`
}

// Camera is an entry of the section "cameras".
type Camera struct {
	URL       string `yaml:"url"`
	Transport string `yaml:"transport" oneof:"auto tcp udp"`
	OnDemand  bool   `yaml:"on_demand"`
}

// IngestConfig is the section "ingest". Zero is no limit.
type IngestConfig struct {
	MaxPublishers int `yaml:"max_publishers" allow:"none"`
}

// ImagesConfig is the section "images". Zero workers are as many as there are
// CPUs.
type ImagesConfig struct {
	FFmpeg    string   `yaml:"ffmpeg"`
	Workers   int      `yaml:"workers" allow:"none"`
	Timeout   duration `yaml:"timeout"`
	MaxMemory size     `yaml:"max_memory"`
}

// RecordsConfig is the section "records": the engine of data streams. Zero is
// what key "limits" says.
type RecordsConfig struct {
	Memory             size     `yaml:"memory"`
	StateDelay         duration `yaml:"state_delay" allow:"none"`
	MaxShards          int      `yaml:"max_shards" allow:"none"`
	MaxOnDemandStreams int      `yaml:"max_on_demand_streams" allow:"none"`
	MaxConsumers       int      `yaml:"max_consumers" allow:"none"`
}

// FeedConfig is the section "feed".
type FeedConfig struct {
	Stream string `yaml:"stream"`
}

// EventsConfig is the section "events".
type EventsConfig struct {
	Stream string `yaml:"stream"`
}

// AWSConfig is the section "aws": who the server says it is.
type AWSConfig struct {
	Account string `yaml:"account"`
	Region  string `yaml:"region"`
}

// LogConfig is the section "log".
type LogConfig struct {
	Level  string `yaml:"level" oneof:"debug info warn error"`
	Format string `yaml:"format" oneof:"text json"`
}

// retention returns what holds for one stream.
func (c *Config) retention(name string) (maxAge time.Duration, maxBytes int64) {
	maxAge, maxBytes = time.Duration(c.Archive.Retention.MaxAge), int64(c.Archive.Retention.MaxBytes)
	r := c.Streams[name].Retention
	if r.MaxAge != nil {
		maxAge = time.Duration(*r.MaxAge)
	}
	if r.MaxBytes != nil {
		maxBytes = int64(*r.MaxBytes)
	}
	return maxAge, maxBytes
}

// exposed returns the keys of the addresses that others than this machine can
// reach.
func (c *Config) exposed() (keys []string) {
	for _, l := range c.listeners() {
		if !l.addr.loopback() {
			keys = append(keys, l.key)
		}
	}
	return keys
}

// listener is an address that is listened on, and the key that names it.
type listener struct {
	key  string
	addr address
}

// listeners returns those that are on.
func (c *Config) listeners() []listener {
	all := []listener{
		{"http.addr", c.HTTP.Addr},
		{"rtsp.addr", c.RTSP.Addr},
		{"rtsp.tls_addr", c.RTSP.TLSAddr},
		{"rtsp.udp_addr", c.RTSP.UDPAddr},
		{"webrtc.addr", c.WebRTC.Addr},
	}
	if c.WebRTC.Addr != "" && c.WebRTC.TURN.Enabled {
		all = append(all, listener{"webrtc.turn.addr", c.WebRTC.TURN.Addr})
	}
	return slices.DeleteFunc(all, func(l listener) bool { return l.addr == "" })
}

// defaultConfig returns the configuration of the annotated file.
func defaultConfig() *Config {
	c := &Config{origin: map[string]origin{}}
	if bad := decodeYAML([]byte(configText), c); len(bad) > 0 {
		panic(&configError{"config.yaml", bad}) // It is built in, and a test reads it.
	}
	clear(c.origin)
	return c
}

// setting is one key set outside the file.
type setting struct {
	key, value string
	origin     string // "flag --http"
}

// loadConfig reads the config file (none when the name is empty) over the
// defaults, then the environment, then the settings, and checks the whole. All
// that is wrong is in one *configError.
func loadConfig(file string, environ []string, settings []setting) (*Config, error) {
	c := defaultConfig()
	var bad []problem
	if file != "" {
		text, err := os.ReadFile(file)
		if err != nil {
			return nil, &usageError{what: fmt.Sprintf("read the config file: %v", err), hint: `"kineweir config" prints one to begin with`}
		}
		bad = decodeYAML(text, c)
	}
	bad = append(bad, applyEnvironment(c, environ)...)
	for _, s := range settings {
		if err := setPath(c, s.key, s.value, origin{text: s.origin}); err != nil {
			bad = append(bad, problem{where: origin{text: s.origin}, key: s.key, what: err.Error()})
		}
	}
	bad = append(bad, c.validate(bad)...)
	if len(bad) > 0 {
		return nil, &configError{file, bad}
	}
	if _, given := c.origin["limits"]; c.Ephemeral && !given {
		c.Limits = "aws" // tests want to meet what production will meet
	}
	if c.RTSP.Addr == "" {
		c.RTSP.UDPAddr = "" // its default is of no use alone
	}
	return c, nil
}
