package event

import "time"

// Config is where events come from, and what they ask for.
type Config struct {
	Kafka *KafkaConfig // nil: none
	HTTP  *HTTPConfig  // nil: none
	Rules []Rule
}

// KafkaConfig is one topic.
type KafkaConfig struct {
	// Brokers are HOST:PORT, of which one must answer.
	Brokers []string
	Topic   string
	// Rewind is how far back reading begins after a start, and after records were lost on a broker.
	Rewind time.Duration
	TLS    *KafkaTLS  // nil: none
	SASL   *KafkaSASL // nil: none
}

// DefaultRewind covers the start of another replica, and is quickly read.
const DefaultRewind = time.Minute

// KafkaTLS is how a broker is spoken to. All files are read again for each connection.
type KafkaTLS struct {
	// CAFile holds the authorities; empty: those of the system.
	CAFile string
	// CertFile and KeyFile are shown to the broker; empty: nothing.
	CertFile, KeyFile string
	// ServerName is that in the broker's certificate; empty: the host's.
	ServerName string
}

// The mechanisms of SASL.
const (
	MechanismPlain       = "PLAIN"
	MechanismScramSHA256 = "SCRAM-SHA-256"
	MechanismScramSHA512 = "SCRAM-SHA-512"
)

// KafkaSASL is who the scaler is for a broker. The files are read again for each connection.
type KafkaSASL struct {
	Mechanism                  string // Plain, ScramSHA256 or ScramSHA512
	UsernameFile, PasswordFile string
}

// HTTPConfig is the endpoint for events.
type HTTPConfig struct {
	// Address is what to listen on, HOST:PORT or :PORT.
	Address string
	// SecretFiles hold one secret each, of which a sender must know one: two while the secret changes. They are read again
	// for each request.
	SecretFiles []string
	// CertFile and KeyFile are for TLS, read again for each connection; empty: none, for who has a proxy in front.
	CertFile, KeyFile string
}
