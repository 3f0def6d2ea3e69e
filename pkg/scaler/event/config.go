// This file holds the configuration types of the section events; decode_config.go and decode_rule.go fill them.

package event

import "time"

// Config is the section events: the sources of events and the rules.
type Config struct {
	Kafka *KafkaConfig // optional
	HTTP  *HTTPConfig  // optional
	// Format is the form of the messages of all sources.
	Format Format
	Rules  []HoldRule
}

// Notes returns warnings about a valid configuration.
func (c *Config) Notes() []string {
	if c.Kafka != nil && c.Kafka.SASL != nil && c.Kafka.TLS == nil {
		return []string{"events.kafka: " + c.Kafka.SASL.Mechanism + " without tls hides the password, but not the events, and does not prove the broker"}
	}
	return nil
}

// KafkaConfig is a Kafka topic and the access to it.
type KafkaConfig struct {
	// Brokers are HOST:PORT; a single reachable broker is enough.
	Brokers []string
	Topic   string
	// Rewind is how far back reading begins after a start, and after a broker lost records. Decode sets it to the largest maxFor of a rule,
	// at most MaxTTL, unless the file has it.
	Rewind time.Duration
	TLS    *KafkaTLS  // optional
	SASL   *KafkaSASL // optional
}

// defaultRewind returns the default rewind: the longest time for which an event may count. So the scaler delivers a missed start after an
// absence of any length, unless the start has expired. Remembered ids prevent a second delivery.
func defaultRewind(rules []HoldRule) time.Duration {
	longest := minRewind
	for i := range rules {
		longest = max(longest, min(rules[i].MaxFor, MaxTTL))
	}
	return longest
}

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
