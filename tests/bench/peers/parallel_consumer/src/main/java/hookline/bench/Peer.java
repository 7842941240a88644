package hookline.bench;

import io.confluent.parallelconsumer.ParallelConsumerOptions;
import io.confluent.parallelconsumer.vertx.VertxParallelEoSStreamProcessor;
import io.vertx.core.Vertx;
import io.vertx.core.VertxOptions;
import io.vertx.core.buffer.Buffer;
import io.vertx.core.json.JsonObject;
import io.vertx.ext.web.client.WebClient;
import io.vertx.ext.web.client.WebClientOptions;
import java.net.URI;
import java.nio.charset.StandardCharsets;
import java.time.Instant;
import java.util.Base64;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import javax.crypto.Mac;
import javax.crypto.spec.SecretKeySpec;
import org.apache.avro.Schema;
import org.apache.avro.generic.GenericDatumReader;
import org.apache.avro.generic.GenericRecord;
import org.apache.avro.io.DecoderFactory;
import org.apache.avro.util.Utf8;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;

/** Confluent's Parallel Consumer with Vert.x, unordered: the same work as the others, offsets committed. */
public final class Peer {
    private static final int SINGLE_OBJECT_HEAD = 10;

    public static void main(String[] args) throws Exception {
        Map<String, String> env = System.getenv();
        Properties settings = new Properties();
        settings.put("bootstrap.servers", env.get("BOOTSTRAP"));
        settings.put("group.id", env.get("GROUP"));
        settings.put("auto.offset.reset", "earliest");
        settings.put("enable.auto.commit", "false");
        var consumer = new KafkaConsumer<>(settings, new ByteArrayDeserializer(), new ByteArrayDeserializer());
        int inFlight = Integer.parseInt(env.get("IN_FLIGHT"));
        var options = ParallelConsumerOptions.<byte[], byte[]>builder()
                .ordering(ParallelConsumerOptions.ProcessingOrder.UNORDERED)
                .maxConcurrency(inFlight)
                .consumer(consumer)
                .build();
        URI url = URI.create(env.get("URL"));
        Vertx vertx = Vertx.vertx(new VertxOptions());
        WebClient client = WebClient.create(vertx, new WebClientOptions().setMaxPoolSize(inFlight).setKeepAlive(true));
        Schema schema = new Schema.Parser().parse(env.get("SCHEMA"));
        var reader = new ThreadLocal<GenericDatumReader<GenericRecord>>() {
            @Override
            protected GenericDatumReader<GenericRecord> initialValue() {
                return new GenericDatumReader<>(schema);
            }
        };
        byte[] secret = Base64.getDecoder().decode(env.get("SECRET"));
        var processor = new VertxParallelEoSStreamProcessor<byte[], byte[]>(vertx, client, options);
        processor.subscribe(List.of(env.get("TOPIC")));
        processor.vertxFuture(context -> {
            try {
                byte[] value = context.getSingleConsumerRecord().value();
                GenericRecord event = reader.get().read(null, DecoderFactory.get()
                        .binaryDecoder(value, SINGLE_OBJECT_HEAD, value.length - SINGLE_OBJECT_HEAD, null));
                GenericRecord customer = (GenericRecord) event.get("customer");
                Map<?, ?> properties = (Map<?, ?>) event.get("properties");
                String id = event.get("id").toString();
                String body = new JsonObject()
                        .put("customer", customer.get("id").toString())
                        .put("email", customer.get("email").toString())
                        .put("plan", properties.get(new Utf8("plan")).toString())
                        .put("seats", properties.get(new Utf8("seats")))
                        .put("at", Instant.ofEpochMilli((Long) event.get("time")).toString())
                        .put("source", "hookline")
                        .encode();
                String stamp = Long.toString(System.currentTimeMillis() / 1000);
                Mac mac = Mac.getInstance("HmacSHA256");
                mac.init(new SecretKeySpec(secret, "HmacSHA256"));
                mac.update((id + "." + stamp + ".").getBytes(StandardCharsets.UTF_8));
                byte[] signature = mac.doFinal(body.getBytes(StandardCharsets.UTF_8));
                return client.post(url.getPort(), url.getHost(), "/v1/contacts")
                        .putHeader("Content-Type", "application/json")
                        .putHeader("Authorization", "Bearer token-of-a-bench")
                        .putHeader("webhook-id", id)
                        .putHeader("webhook-timestamp", stamp)
                        .putHeader("webhook-signature", "v1," + Base64.getEncoder().encodeToString(signature))
                        .sendBuffer(Buffer.buffer(body));
            } catch (Exception error) {
                throw new RuntimeException(error);
            }
        });
        Thread.currentThread().join();
    }
}
