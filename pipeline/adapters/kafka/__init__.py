"""The one door to Kafka: consumers, the producer, topic administration, reading a topic to its end."""
