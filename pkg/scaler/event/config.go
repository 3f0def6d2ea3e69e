package event

import "time"

// This file holds the configuration types of the section events; decode_config.go and decode_rule.go fill them.

// Config is the section events: the sources of events and the rules.
type Config struct {
	Kafka *KafkaConfig // optional
	HTTP  *HTTPConfig  // optional
	Rules []Rule
}

// KafkaConfig is a Kafka topic and the access to it.
type KafkaConfig struct {
	// Brokers are HOST:PORT; a single reachable broker is enough.
	Brokers []string
	Topic   string
	// Rewind is how far back reading begins after a start, and after a broker lost records.
	Rewind time.Duration
	TLS    *KafkaTLS  // optional
	SASL   *KafkaSASL // optional
}

// DefaultRewind covers the start of another replica, and takes little time to read.
const DefaultRewind = time.Minute

// KafkaTLS is the TLS configuration of broker connections. Each new connection reads all files again.
type KafkaTLS struct {
	// CAFile holds the trusted authorities; empty: the system's authorities.
	CAFile string
	// CertFile and KeyFile are the client certificate; optional.
	CertFile, KeyFile string
	// ServerName is the name in the broker's certificate; empty: the broker's host.
	ServerName string
}

// The SASL mechanisms.
const (
	MechanismPlain       = "PLAIN"
	MechanismScramSHA256 = "SCRAM-SHA-256"
	MechanismScramSHA512 = "SCRAM-SHA-512"
)

// KafkaSASL holds the scaler's credentials for the brokers. Each new connection reads the files again.
type KafkaSASL struct {
	Mechanism                  string // MechanismPlain, MechanismScramSHA256 or MechanismScramSHA512
	UsernameFile, PasswordFile string
}

// HTTPConfig is the HTTP endpoint for events.
type HTTPConfig struct {
	// Address is the listen address, HOST:PORT or :PORT.
	Address string
	// SecretFiles hold a secret each. A sender must know any of them; two files serve while the secret rotates. Each request reads
	// the files again.
	SecretFiles []string
	// CertFile and KeyFile are the server certificate, read again for each connection; empty: plain HTTP, for use behind a proxy.
	CertFile, KeyFile string
}
