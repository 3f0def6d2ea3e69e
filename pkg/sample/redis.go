// This file keeps orders in Redis.

package sample

import (
	"context"
	"errors"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"
)

// redisOrderStore keeps orders in Redis. Every wait is bounded, and so is the pool.
type redisOrderStore struct {
	client  *redis.Client
	ttl     time.Duration
	timeout time.Duration // of one operation with its retry
}

// newRedisOrderStore returns a store that connects with its first operation.
func newRedisOrderStore(cfg *Config) *redisOrderStore {
	client := redis.NewClient(&redis.Options{
		Addr:                  cfg.RedisAddr,
		DialTimeout:           cfg.RedisTimeout,
		ReadTimeout:           cfg.RedisTimeout,
		WriteTimeout:          cfg.RedisTimeout,
		PoolTimeout:           cfg.RedisTimeout,
		ContextTimeoutEnabled: true,
		PoolSize:              cfg.RedisPoolSize,
		MaxActiveConns:        cfg.RedisPoolSize, // without it PoolSize is exceeded under load
		PipelinePoolSize:      -1,                // the service uses no pipelines
		ConnMaxIdleTime:       5 * time.Minute,
		MaxRetries:            1, // covers a connection that died idle; both operations may run twice
		DialerRetries:         1, // the retry above dials again; more would hide an outage for longer
		// A plain Redis supports neither, and every new connection would request both.
		DisableIdentity:          true,
		MaintNotificationsConfig: &maintnotifications.Config{Mode: maintnotifications.ModeDisabled},
	})
	return &redisOrderStore{client: client, ttl: cfg.OrderTTL, timeout: 3 * cfg.RedisTimeout}
}

func (o *redisOrderStore) saveOrder(ctx context.Context, id string, doc []byte) error {
	ctx, cancel := context.WithTimeout(ctx, o.timeout)
	defer cancel()
	return o.client.Set(ctx, redisOrderKey(id), doc, o.ttl).Err()
}

func (o *redisOrderStore) getOrder(ctx context.Context, id string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, o.timeout)
	defer cancel()
	doc, err := o.client.Get(ctx, redisOrderKey(id)).Bytes()
	if errors.Is(err, redis.Nil) {
		return nil, errOrderNotFound
	}
	return doc, err
}

func (o *redisOrderStore) pingOrderRedis(ctx context.Context) error {
	return o.client.Ping(ctx).Err()
}

func (o *redisOrderStore) closeOrderRedis() error { return o.client.Close() }

func redisOrderKey(id string) string { return "order:" + id }
