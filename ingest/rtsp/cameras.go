package rtsp

// Transport is how packets come from a camera.
type Transport string

// The transports.
const (
	Auto Transport = "auto" // TCP, or UDP when the camera refuses TCP
	TCP  Transport = "tcp"
	UDP  Transport = "udp" // UDP, or TCP when nothing comes
)
